"""Begin from a checkpoint: take a run up, or start a new one from another's layers."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..shards import Dataset, FreelightError, Statistics
from .checkpoint import Checkpoint
from .network.network import Network
from .recipe import Recipe


def check_same_run(
    checkpoint: Checkpoint, *, recipe: Recipe, seed: int, dataset: Dataset, statistics: Statistics, where: Path
) -> None:
    """Raise `FreelightError` naming what differs, unless the run of `checkpoint` may go on with all this.

    where: the folder of the run.
    """
    remedy = "give the same to go on with it, or another --out"
    then = checkpoint.class_ids
    now = [info.id for info in dataset.manifest.classes]
    if then != now:
        pairs = zip_longest(then, now, fillvalue="none")
        label, (was, is_) = next((label, pair) for label, pair in enumerate(pairs) if pair[0] != pair[1])
        raise FreelightError(f"{where} holds a run on other classes: class {label} was {was}, here {is_}; {remedy}")
    begun = _settings(checkpoint.recipe, checkpoint.seed, checkpoint.fingerprint)
    wanted = _settings(recipe, seed, dataset.fingerprint)
    changed = [f"{name}: {begun[name]!r} then, {wanted[name]!r} now" for name in wanted if begun[name] != wanted[name]]
    if changed:
        raise FreelightError(f"{where} holds a run with other settings ({'; '.join(changed)}); {remedy}")
    if not _same(checkpoint.statistics, statistics):
        raise FreelightError(
            f"{where} holds a run with other statistics than {dataset.folder} has now; "
            "put the old ones back, or give another --out"
        )


def _settings(recipe: Recipe, seed: int, fingerprint: str) -> dict[str, Any]:
    settings = recipe.asdict()
    network = settings.pop("network")
    return {**settings, **network, "seed": seed, "dataset": fingerprint[:12]}


def _same(one: Statistics, other: Statistics) -> bool:
    return all(np.array_equal(value, getattr(other, name)) for name, value in vars(one).items())


@torch.no_grad()
def copy_matching(checkpoint: Checkpoint, network: Network, dataset: Dataset) -> str:
    """Copy the layers of a checkpoint that fit into `network`; return which were copied, and why others were not.

    A layer fits that has the same name and shapes. The last one, whose rows are classes, must be of the same class ids;
    in another order its rows are brought into the dataset's.
    """
    own = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    last = list(own)[-1].partition(".")[0]
    copied, new = [], []
    for layer in dict.fromkeys(name.partition(".")[0] for name in own):
        names = [f"{layer}.weight", f"{layer}.bias"]
        theirs = [checkpoint.weights.get(name) for name in names]
        reason = None
        for name, weights in zip(names, theirs, strict=True):
            wanted = (network.whole_rows(layer), *own[name][1:])
            if weights is None:
                reason = "the checkpoint has none"
            elif tuple(weights.shape) != wanted:
                reason = f"{name} is {tuple(weights.shape)} there, {wanted} here"
        rows = None
        if layer == last and reason is None:
            try:
                rows = checkpoint.label_map(dataset)
            except FreelightError as error:
                reason = str(error)
        if reason is not None:
            new.append(f"{layer} ({reason})")
            continue
        for name, weights in zip(names, theirs, strict=True):
            assert weights is not None
            network.get_parameter(name).copy_(network.part(name, weights if rows is None else weights[rows]))
        copied.append(layer)
    return f"copied: {', '.join(copied) or 'none'}; new: {', '.join(new) or 'none'}"
