"""Start from a checkpoint: check that a run may be resumed, or begin a new run with another run's layers."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..shards import Dataset, FreelightError, Statistics
from .checkpoint import Checkpoint
from .network.network import Network
from .recipes import Recipe


def check_same_run(
    checkpoint: Checkpoint,
    *,
    recipe: Recipe,
    seed: int,
    dataset: Dataset,
    statistics: Statistics,
    sampling: str | None = None,
    folder: Path,
) -> None:
    """Raise `FreelightError` naming what differs, unless a run can be resumed from `checkpoint` with these settings.

    sampling: of the loader's state. folder: of the run, for the message. The recipe's header is text and may differ.
    `epochs` may be larger, unless the learning rates of earlier epochs depend on it.
    """
    remedy = "use the earlier ones, or another `out`"
    class_ids = [info.id for info in dataset.manifest.classes]
    for label, (then, now) in enumerate(zip_longest(checkpoint.class_ids, class_ids, fillvalue="none")):
        if then != now:
            raise FreelightError(
                f"{folder} holds a run with other classes (class {label}: {then} then, {now} now); {remedy}"
            )
    before = _settings(
        checkpoint.recipe, checkpoint.seed, checkpoint.fingerprint, checkpoint.progress["loader"].get("sampling")
    )
    wanted = _settings(recipe, seed, dataset.fingerprint, sampling)
    changed = {key: f"{key}: {before[key]!r} then, {wanted[key]!r} now" for key in wanted if before[key] != wanted[key]}
    if "epochs" in changed:
        if recipe.schedule == "exponential":
            changed["epochs"] += ", on which all rates of the schedule 'exponential' depend"
        elif recipe.epochs < checkpoint.recipe.epochs:
            changed["epochs"] += ", though they may only be raised"
        else:
            del changed["epochs"]
    if changed:
        raise FreelightError(f"{folder} holds a run with other settings ({'; '.join(changed.values())}); {remedy}")
    if not _equal(checkpoint.statistics, statistics):
        raise FreelightError(
            f"{folder} holds a run with other statistics than {dataset.place} has now; "
            "restore the earlier file, or use another `out`"
        )


def _settings(recipe: Recipe, seed: int, fingerprint: str, sampling: str | None) -> dict[str, Any]:
    own = {"seed": seed, "dataset": fingerprint[:12], "sampling": sampling or "every sample once"}
    return {"recipe": recipe.name, **recipe.settings(), **own}


def _equal(one: Statistics, other: Statistics) -> bool:
    return all(np.array_equal(value, getattr(other, name)) for name, value in vars(one).items())


@torch.no_grad()
def init_from(checkpoint: Checkpoint, network: Network, dataset: Dataset) -> str:
    """Copy the layers of `checkpoint` that fit into `network`; return which were copied, and why others were not.

    A layer fits if name and shapes are the same. The last layer's rows are classes: it fits if the class ids are the
    same, and its rows are put in the dataset's order.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    last = list(shapes)[-1].partition(".")[0]
    copied, new = [], []
    for layer in dict.fromkeys(name.partition(".")[0] for name in shapes):
        names = [f"{layer}.weight", f"{layer}.bias"]
        theirs = [checkpoint.weights.get(name) for name in names]
        reason = None
        for name, weights in zip(names, theirs, strict=True):
            wanted = (network.whole_rows(layer), *shapes[name][1:])
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
