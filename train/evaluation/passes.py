"""One pass of a network over a split, on the processes of a mesh; rank 0 keeps the result.

`predict_split` keeps the probabilities of every sample. `rank_split` keeps only what error counts need: half of Fall
2009, 4.45 million images and 10,184 classes, has 181 GB of probabilities. Each sample is decoded once for any number of
views. On the CPU the bits are the same on any number of processes and threads.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ...pipeline import Loader
from ...pipeline.ranks import Ranks, local_processes
from ...shards import Dataset, FreelightError, Split
from ...shards.base import CountOrAuto, decoding_threads
from ..checkpoint import Checkpoint
from ..parallel.mesh import Mesh
from ..parallel.signals import StopRequest
from .inference import inference
from .rounds import Watch, in_rounds, no_watch, start_copy
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
    num_threads: CountOrAuto = "auto",
    compile_: bool | None = None,
    mesh: Mesh = Mesh(),  # noqa: B008
    device: str = "cpu",
    stop: StopRequest | None = None,
    watch: Watch = no_watch,
) -> ProbabilityPass | None:
    """Return a network's probabilities for a split, on rank 0; None on other ranks (a collective).

    batch_size: images that a network sees at a time. num_threads: as of `Loader`. compile_: as of `inference`. watch:
    wraps the sample counts of the rounds of all processes, on rank 0. Raises `FreelightError` if the dataset's classes
    or image size are not the network's, and `StoppedError` on every rank if `stop` holds a signal.
    """
    reading: dict[str, Any] = {"views": views, "batch_size": batch_size, "num_threads": num_threads}
    loader = evaluation_loader(trained, dataset, split, **reading, mesh=mesh, device=device)
    kept = _Probabilities(len(loader.split), len(dataset.manifest.classes))
    working: dict[str, Any] = {"compile_": compile_, "mesh": mesh, "stop": stop, "watch": watch}
    timing = _run_pass(trained, dataset, loader, kept, views=views, **working)
    return ProbabilityPass(probabilities=kept.probabilities, **vars(timing)) if mesh.rank == 0 else None


def rank_split(
    trained: Checkpoint,
    dataset: Dataset,
    split: str,
    *,
    views: int,
    batch_size: int = 64,
    num_threads: CountOrAuto = "auto",
    compile_: bool | None = None,
    mesh: Mesh = Mesh(),  # noqa: B008
    device: str = "cpu",
    stop: StopRequest | None = None,
    watch: Watch = no_watch,
) -> RankPass | None:
    """Return the ranks of a labelled split's labels; otherwise as `predict_split`."""
    reading: dict[str, Any] = {"views": views, "batch_size": batch_size, "num_threads": num_threads}
    loader = evaluation_loader(trained, dataset, split, **reading, mesh=mesh, device=device)
    kept = _Ranks(split_labels(loader.split))
    working: dict[str, Any] = {"compile_": compile_, "mesh": mesh, "stop": stop, "watch": watch}
    timing = _run_pass(trained, dataset, loader, kept, views=views, **working)
    return RankPass(ranked=kept.ranked, **vars(timing)) if mesh.rank == 0 else None


def evaluation_loader(
    trained: Checkpoint,
    dataset: Dataset,
    split: str,
    *,
    views: int,
    batch_size: int,
    num_threads: CountOrAuto = "auto",
    mesh: Mesh = Mesh(),  # noqa: B008
    device: str = "cpu",
) -> Loader:
    """Return a loader of the split in the order written, with the transform of the checkpoint's recipe.

    Each replica has a loader of the whole split, which its columns share.
    """
    if dataset.require_squares() != trained.image_size:
        raise FreelightError(
            f"{dataset.place} has images of {dataset.image_size} pixels, the network was trained on "
            f"{trained.image_size}; make the dataset again with "
            f"freelight make-shards --images IMAGES --out DATASET --size {trained.image_size}"
        )
    return Loader(
        dataset,
        split,
        batch_size=batch_size,
        transform=trained.recipe.evaluation_transform(views),
        statistics=trained.statistics,
        order="sequential",
        rank=mesh.columns.rank,
        world_size=mesh.columns.processes,
        group=mesh.columns.group,
        device=device,
        num_threads=decoding_threads(num_threads, local_processes(Ranks(mesh.rank, mesh.world_size))),
    )


def split_labels(split: Split) -> Labels:
    """Return the labels of a split: int64 (samples,), -1 where unknown."""
    labels: Labels = split.samples["label"].astype(np.int64)
    return labels


class _Kept(Protocol):
    """What rank 0 keeps of a pass: arrays with one row per sample. `Rows` is what a batch adds to it."""

    def rows(self, samples: range, probabilities: Probabilities) -> Any:
        """Return what is kept of a batch's class probabilities (n, classes), on the rank that computed them."""

    def add(self, samples: range, rows: Any) -> None:
        """Keep the rows of these samples."""


class _Probabilities:
    def __init__(self, samples: int, classes: int) -> None:
        self.probabilities = np.empty((samples, classes), np.float32)

    def rows(self, samples: range, probabilities: Probabilities) -> Probabilities:
        return probabilities

    def add(self, samples: range, rows: Probabilities) -> None:
        self.probabilities[samples.start : samples.stop] = rows


class _Ranks:
    def __init__(self, labels: Labels) -> None:
        self.ranked = RankedLabels(
            labels=labels,
            ranks=np.zeros_like(labels),
            predicted=np.zeros_like(labels),
            label_probabilities=np.zeros(len(labels), np.float32),
        )

    def rows(self, samples: range, probabilities: Probabilities) -> RankedLabels:
        return rank_labels(probabilities, self.ranked.labels[samples.start : samples.stop])

    def add(self, samples: range, rows: RankedLabels) -> None:
        for name in ("ranks", "predicted", "label_probabilities"):
            getattr(self.ranked, name)[samples.start : samples.stop] = getattr(rows, name)


@dataclass(frozen=True, kw_only=True)
class _Timing:
    seconds: float
    reordered: bool


def _run_pass(
    trained: Checkpoint,
    dataset: Dataset,
    loader: Loader,
    kept: _Kept,
    *,
    views: int,
    compile_: bool | None,
    mesh: Mesh,
    stop: StopRequest | None,
    watch: Watch,
) -> _Timing:
    """Show the network every sample of the loader's split, and fill `kept` on rank 0."""
    label_map = trained.label_map(dataset)
    counts = np.zeros(len(loader.split), np.int64)
    shown: Any = {"views": views * len(loader.split), "compile_": compile_}
    with loader, inference(trained, str(loader.device), mesh.columns, **shown) as network:
        start = time.perf_counter()

        def compute(samples: range, images: torch.Tensor) -> Callable[[], Any]:
            finish = start_copy(network.probabilities(images))
            return lambda: kept.rows(samples, finish()[:, label_map])

        def keep() -> Iterator[int]:
            for parts in in_rounds(loader, compute, [range(len(loader.split))], mesh, stop):
                for samples, rows in parts:
                    kept.add(samples, rows)
                    counts[samples.start : samples.stop] += 1
                yield sum(len(samples) for samples, _ in parts)

        for _ in keep() if mesh.rank else watch(keep(), len(loader.split)):
            pass
        seconds = time.perf_counter() - start
    assert mesh.rank or bool((counts == 1).all()), "each sample counts once"
    return _Timing(seconds=seconds, reordered=not torch.equal(label_map, torch.arange(len(label_map))))
