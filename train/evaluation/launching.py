"""Run passes with several checkpoints, on any number of processes."""

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from ...shards import Dataset, FreelightError
from ...shards.base import FETCH_TIMEOUT, StorageOptions
from ..checkpoint import Checkpoint
from ..parallel.mesh import Mesh
from ..parallel.signals import StopRequest
from ..parallel.votes import StoppedError
from .passes import ProbabilityPass, RankPass, predict_split, rank_split, split_labels
from .predictions import Predictions, join_predictions
from .processes import Processes, is_reporting
from .rounds import Watch, no_watch
from .scoring import rank_labels


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The split and the networks of an evaluation, and its processes.

    checkpoints: files, one per network. shards, cache, cache_bytes, fetch_timeout, storage_options: as of
    `TrainingConfig`. views: 1
    (centre) or 10. batch_size: images that a network sees at a time. Replicas get whole batches, so the bits do not
    depend on their number. watch: as of `predict_split`; it can be pickled.
    """

    checkpoints: tuple[Path, ...]
    shards: str
    split: str
    views: int
    batch_size: int = 64
    processes: Processes = field(default_factory=Processes)
    cache: Path | None = None
    cache_bytes: int = 10**11
    fetch_timeout: float = FETCH_TIMEOUT
    storage_options: StorageOptions = None
    watch: Watch = no_watch

    def dataset(self) -> Dataset:
        """Open the dataset."""
        return Dataset(
            self.shards,
            cache=self.cache,
            cache_bytes=self.cache_bytes,
            fetch_timeout=self.fetch_timeout,
            storage_options=self.storage_options,
        )


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
) -> Predictions | None:
    """Return the predictions `earlier`, then those of a pass with each checkpoint; also write them to `save_to`.

    Returns None, and writes nothing, in processes of torchrun other than rank 0.
    """
    results = _run_passes(config, predict_split, ProbabilityPass)
    if results is None:
        return None
    parts, labels = list(earlier), split_labels(dataset.split(config.split))
    for path, result in zip(config.checkpoints, results, strict=True):
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


def rank_networks(config: EvaluationConfig) -> list[RankPass] | None:
    """Rank the labels of a labelled split with each checkpoint; the probabilities are not kept.

    Returns None in processes of torchrun other than rank 0.
    """
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


def _run_passes(
    config: EvaluationConfig, run_pass: Callable[..., Result | None], result: type[Result]
) -> list[Result] | None:
    """Return the results of `run_pass` with each checkpoint; None in processes of torchrun other than rank 0."""
    if not config.checkpoints:
        return [] if is_reporting() else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = functools.partial(write_passes, config, run_pass, folder)
        remedy = "run the same command again; an evaluation starts from the beginning"
        if not config.processes.run(work, remedy=remedy):
            return None
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
        try:
            result = run_pass(
                Checkpoint.load(path),
                dataset,
                config.split,
                views=config.views,
                batch_size=config.batch_size,
                num_threads=config.processes.num_threads,
                compile_=config.processes.compile_,
                mesh=mesh,
                device=device,
                stop=stop,
                watch=config.watch,
            )
        except StoppedError:
            return
        if result is None:
            continue
        if not result.finite:
            raise FreelightError(
                f"{path} gives probabilities that are not finite (NaN): its weights are damaged, or its training "
                "diverged; name another checkpoint"
            )
        result.save(pass_file(folder, number))


def pass_file(folder: Path, number: int) -> Path:
    """Return the file of the pass with checkpoint `number`."""
    return folder / f"pass-{number}.npz"
