"""Run passes with several checkpoints, on one process or on one process for each network column."""

import functools
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from ...shards import Dataset, FreelightError
from ..checkpoint import Checkpoint
from ..parallel.launch import launch
from ..parallel.mesh import Mesh
from ..parallel.signals import StopRequest
from .passes import ProbabilityPass, RankPass, predict_split, rank_split, split_labels
from .predictions import Predictions, join_predictions
from .scoring import rank_labels


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The split and the networks of an evaluation, and its processes.

    checkpoints: files, one per network. shards, cache, cache_bytes: as of `TrainingConfig`. views: 1 (centre) or 10.
    batch_size: images, over all processes. columns: processes that hold one network. backend: as of `launch`.
    """

    checkpoints: tuple[Path, ...]
    shards: str
    split: str
    views: int
    batch_size: int = 64
    columns: int = 1
    backend: str | None = None
    cache: Path | None = None
    cache_bytes: int = 10**11

    def dataset(self) -> Dataset:
        """Open the dataset."""
        return Dataset(self.shards, cache=self.cache, cache_bytes=self.cache_bytes)


class PassResult(Protocol):
    """The result of a pass, which a process can write to a file."""

    @property
    def finite(self) -> bool:
        """Whether all probabilities are numbers."""

    def save(self, path: Path) -> None:
        """Write the file."""


Result = TypeVar("Result", ProbabilityPass, RankPass)


def load_predictions(config: EvaluationConfig, dataset: Dataset, paths: Sequence[Path]) -> list[Predictions]:
    """Read predictions files. Raises `FreelightError` unless they hold the configured split and views."""
    loaded = []
    for path in paths:
        predictions = Predictions.load(path)
        predictions.check_source(dataset, config.split, config.views, path)
        loaded.append(predictions)
    return loaded


def predict_networks(
    config: EvaluationConfig, dataset: Dataset, earlier: Sequence[Predictions] = (), *, save_to: Path | None = None
) -> Predictions:
    """Return the predictions `earlier`, then those of a pass with each checkpoint; also write them to `save_to`."""
    parts, labels = list(earlier), split_labels(dataset.split(config.split))
    for path, result in zip(config.checkpoints, _run_passes(config, predict_split, ProbabilityPass), strict=True):
        parts.append(
            Predictions(
                names=np.array([str(path)]),
                probabilities=result.probabilities[None],
                labels=labels,
                seconds=np.array([result.seconds]),
                reordered=np.array([result.reordered]),
                fingerprint=dataset.fingerprint,
                split=config.split,
                views=config.views,
            )
        )
    joined = join_predictions(parts)
    if save_to is not None:
        joined.save(save_to)
    return joined


def rank_networks(config: EvaluationConfig) -> list[RankPass]:
    """Rank the labels of a labelled split with each checkpoint; the probabilities are not kept."""
    return _run_passes(config, rank_split, RankPass)


def rank_predictions(predictions: Predictions) -> list[RankPass]:
    """Rank the labels with the probabilities of each network; nothing is ranked if the split has no labels."""
    labelled = bool((predictions.labels >= 0).all())
    return [
        RankPass(
            ranked=rank_labels(probabilities, predictions.labels) if labelled else None,
            seconds=float(seconds),
            reordered=bool(reordered),
        )
        for probabilities, seconds, reordered in zip(
            predictions.probabilities, predictions.seconds, predictions.reordered, strict=True
        )
    ]


def _run_passes(config: EvaluationConfig, run_pass: Callable[..., Result | None], result: type[Result]) -> list[Result]:
    """Return the results of `run_pass` with each checkpoint."""
    if not config.checkpoints:
        return []
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise FreelightError("evaluate starts its own processes, see `columns`; start it without torchrun")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = functools.partial(write_passes, config, run_pass, folder)
        stopped = launch(
            work,
            columns=config.columns,
            replicas=1,
            backend=config.backend,
            remedy="run the same command again; an evaluation starts from the beginning",
        )
        if stopped:
            sys.exit(128 + stopped)
        return [result.load(pass_file(folder, number)) for number in range(len(config.checkpoints))]


def write_passes(
    config: EvaluationConfig,
    run_pass: Callable[..., PassResult | None],
    folder: Path,
    mesh: Mesh,
    device: str,
    stop: StopRequest,
) -> None:
    """Run a pass with each checkpoint at this process's place in the mesh; rank 0 writes the results into `folder`.

    Returns early when asked to stop. For `launch`.
    """
    dataset = config.dataset()
    for number, path in enumerate(config.checkpoints):
        result = run_pass(
            Checkpoint.load(path),
            dataset,
            config.split,
            views=config.views,
            batch_size=config.batch_size,
            mesh=mesh,
            device=device,
            stop=stop,
        )
        if result is None:
            return
        if not result.finite:
            raise FreelightError(
                f"{path} gives probabilities that are not finite (NaN): its weights are damaged, or its training "
                "diverged; name another checkpoint"
            )
        if mesh.rank == 0:
            result.save(pass_file(folder, number))


def pass_file(folder: Path, number: int) -> Path:
    """Return the file of the pass with checkpoint `number`."""
    return folder / f"pass-{number}.npz"
