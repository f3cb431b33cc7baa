"""One pass of a network over a split, on every process of a mesh.

`predict_split` keeps the probabilities of every sample. `rank_split` keeps only what error counts need: half of Fall
2009, 4.45 million images and 10,184 classes, has 181 GB of probabilities. Each sample is decoded once for any number of
views.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from ...pipeline import Loader
from ...shards import Dataset, FreelightError, Split
from ..checkpoint import Checkpoint
from ..evaluator import view_probabilities
from ..parallel.mesh import Mesh
from ..parallel.signals import StopRequest
from .scoring import Labels, Probabilities, RankedLabels, rank_labels


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbabilityPass:
    """probabilities: float32 (samples, classes), both in the dataset's order. seconds: duration of the pass.

    reordered: whether the network was trained with the classes in another order.
    """

    probabilities: Probabilities
    seconds: float
    reordered: bool

    @property
    def finite(self) -> bool:
        """Whether all probabilities are numbers. A network whose weights are too large gives NaN."""
        return bool(np.isfinite(self.probabilities).all())

    def save(self, path: Path) -> None:
        """Write an `.npz`; see `load`."""
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "ProbabilityPass":
        """Read what `save` wrote."""
        with np.load(path) as file:
            return cls(
                probabilities=file["probabilities"], seconds=float(file["seconds"]), reordered=bool(file["reordered"])
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class RankPass:
    """ranked: the split's labels, in the dataset's order; None if it has none. The others as of `ProbabilityPass`."""

    ranked: RankedLabels | None
    seconds: float
    reordered: bool

    @property
    def finite(self) -> bool:
        """Whether all probabilities of labels are numbers."""
        return self.ranked is None or bool(np.isfinite(self.ranked.label_probabilities).all())

    def save(self, path: Path) -> None:
        """Write an `.npz`; see `load`."""
        assert self.ranked is not None
        np.savez(path, seconds=self.seconds, reordered=self.reordered, **vars(self.ranked))

    @classmethod
    def load(cls, path: Path) -> "RankPass":
        """Read what `save` wrote."""
        with np.load(path) as file:
            content: dict[str, Any] = dict(file)
        seconds, reordered = float(content.pop("seconds")), bool(content.pop("reordered"))
        return cls(ranked=RankedLabels(**content), seconds=seconds, reordered=reordered)


def predict_split(
    trained: Checkpoint,
    dataset: Dataset,
    split: str,
    *,
    views: int,
    batch_size: int = 64,
    mesh: Mesh = Mesh(),  # noqa: B008
    device: str = "cpu",
    stop: StopRequest | None = None,
) -> ProbabilityPass | None:
    """Return a network's probabilities for a split, on every process; None if it was asked to stop.

    batch_size: images, over all processes. Raises `FreelightError` if the dataset's classes or image size are not the
    network's.
    """
    loader = evaluation_loader(trained, dataset, split, views=views, batch_size=batch_size, mesh=mesh, device=device)
    kept = _Probabilities(len(loader.split), len(dataset.manifest.classes))
    timing = _run_pass(trained, dataset, loader, kept, mesh, stop)
    return None if timing is None else ProbabilityPass(probabilities=kept.probabilities, **vars(timing))


def rank_split(
    trained: Checkpoint,
    dataset: Dataset,
    split: str,
    *,
    views: int,
    batch_size: int = 64,
    mesh: Mesh = Mesh(),  # noqa: B008
    device: str = "cpu",
    stop: StopRequest | None = None,
) -> RankPass | None:
    """Return the ranks of a labelled split's labels, on every process; otherwise as `predict_split`."""
    loader = evaluation_loader(trained, dataset, split, views=views, batch_size=batch_size, mesh=mesh, device=device)
    kept = _Ranks(split_labels(loader.split))
    timing = _run_pass(trained, dataset, loader, kept, mesh, stop)
    return None if timing is None else RankPass(ranked=kept.ranked, **vars(timing))


def evaluation_loader(
    trained: Checkpoint,
    dataset: Dataset,
    split: str,
    *,
    views: int,
    batch_size: int,
    mesh: Mesh = Mesh(),  # noqa: B008
    device: str = "cpu",
) -> Loader:
    """Return a loader of the split in the order written, with the transform of the checkpoint's recipe."""
    if dataset.require_squares() != trained.image_size:
        raise FreelightError(
            f"{dataset.folder} has images of {dataset.image_size} pixels, the network was trained on "
            f"{trained.image_size}; make the dataset again with make_shards --size {trained.image_size}"
        )
    return Loader(
        dataset,
        split,
        batch_size=batch_size,
        transform=trained.recipe.evaluation_transform(views),
        statistics=trained.statistics,
        order="sequential",
        extras=("samples",),
        rank=mesh.rank,
        world_size=mesh.world_size,
        group=mesh.columns.group,
        device=device,
    )


def split_labels(split: Split) -> Labels:
    """Return the labels of a split: int64 (samples,), -1 where unknown."""
    labels: Labels = split.samples["label"].astype(np.int64)
    return labels


class _Kept(Protocol):
    """What a pass keeps: arrays with one row per sample, 0 until `add` fills the row."""

    def add(self, samples: npt.NDArray[np.int64], probabilities: Probabilities) -> None:
        """Fill the rows `samples` (n,) from class probabilities (n, classes)."""

    def arrays(self) -> Sequence[npt.NDArray[Any]]:
        """Return the arrays, to be summed over processes in place."""


class _Probabilities:
    def __init__(self, samples: int, classes: int) -> None:
        self.probabilities = np.zeros((samples, classes), np.float32)

    def add(self, samples: npt.NDArray[np.int64], probabilities: Probabilities) -> None:
        self.probabilities[samples] = probabilities

    def arrays(self) -> Sequence[npt.NDArray[Any]]:
        return [self.probabilities]


class _Ranks:
    def __init__(self, labels: Labels) -> None:
        self.ranked = RankedLabels(
            labels=labels,
            ranks=np.zeros_like(labels),
            predicted=np.zeros_like(labels),
            label_probabilities=np.zeros(len(labels), np.float32),
        )

    def add(self, samples: npt.NDArray[np.int64], probabilities: Probabilities) -> None:
        batch = rank_labels(probabilities, self.ranked.labels[samples])
        self.ranked.ranks[samples] = batch.ranks
        self.ranked.predicted[samples] = batch.predicted
        self.ranked.label_probabilities[samples] = batch.label_probabilities

    def arrays(self) -> Sequence[npt.NDArray[Any]]:
        return [self.ranked.ranks, self.ranked.predicted, self.ranked.label_probabilities]


@dataclass(frozen=True, kw_only=True)
class _Timing:
    seconds: float
    reordered: bool


def _run_pass(
    trained: Checkpoint, dataset: Dataset, loader: Loader, kept: _Kept, mesh: Mesh, stop: StopRequest | None
) -> _Timing | None:
    """Show the network every sample of the loader's split, and fill `kept` on every process; None if asked to stop."""
    label_map = trained.label_map(dataset)
    network = trained.network(mesh.columns).to(loader.device)
    counts = np.zeros(len(loader.split), np.int64)
    start = time.perf_counter()
    for images, _, samples in _until_stopped(loader, mesh, stop):
        if len(samples):  # this rank's share of a short last batch may be empty
            rows = samples.cpu().numpy()
            kept.add(rows, view_probabilities(network, images).float().cpu()[:, label_map].numpy())
            counts[rows] += 1
    if mesh.host_group is not None:
        for array in (*kept.arrays(), counts):
            if mesh.columns.rank:  # all columns of a replica hold the same rows: only the first one's are summed
                array[:] = 0
            dist.all_reduce(torch.from_numpy(array), group=mesh.host_group)
    if stop is not None and mesh.max_over_ranks(int(bool(stop.number))):
        return None
    assert bool((counts == 1).all()), "each sample counts once"
    reordered = not torch.equal(label_map, torch.arange(len(label_map)))
    return _Timing(seconds=time.perf_counter() - start, reordered=reordered)


def _until_stopped(batches: Iterable[Any], mesh: Mesh, stop: StopRequest | None) -> Iterator[Any]:
    for batch in batches:
        yield batch
        if stop is not None and mesh.max_over_ranks(int(bool(stop.number))):
            return
