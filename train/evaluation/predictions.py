"""What networks say of a split: the probabilities of every sample, kept in a file so that averages need no second pass.

Where one network's errors are all that is wanted, no more is held than they need: the probabilities of the 4.45 million
images and 10,184 classes of half of Fall 2009 would take 181 GB. A pass runs on one process, or on one a column; each
sample is decoded once, whatever the number of views.
"""

import dataclasses
import functools
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from ...pipeline import Batch, Loader
from ...shards import Dataset, FreelightError, Split
from ...shards.base.atomic import atomic_write
from ..checkpoint import Checkpoint
from ..evaluator import view_probabilities
from ..parallel.launch import launch
from ..parallel.mesh import Mesh
from ..parallel.signals import StopRequest
from .scoring import Answers, judge


class SplitPass(NamedTuple):
    """probabilities: float32 (samples, classes), in the dataset's order of both. seconds: that it took.

    reordered: whether the network was trained on these classes in another order.
    """

    probabilities: npt.NDArray[np.float32]
    seconds: float
    reordered: bool


class JudgedPass(NamedTuple):
    """answers: to the samples in the dataset's order; None where they have no labels. Else as `SplitPass`."""

    answers: Answers | None
    seconds: float
    reordered: bool


Found = TypeVar("Found", SplitPass, JudgedPass)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Networks' probabilities for a split; samples and classes are in the dataset's order.

    names: of the networks. probabilities: float32 (networks, samples, classes). labels: int64 (samples,), -1 where
    there are none. seconds: float64 (networks,), what each pass took. reordered: bool (networks,), whether a network
    was trained on these classes in another order. fingerprint, split: of the dataset. views: 1 or 10.
    """

    names: npt.NDArray[np.str_]
    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    reordered: npt.NDArray[np.bool_]
    fingerprint: str
    split: str
    views: int

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        with atomic_write(path) as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read what `save` wrote. Raises `FreelightError` for any other file."""
        try:
            with path.open("rb") as file, np.load(file) as archive:
                content: dict[str, Any] = {field.name: archive[field.name] for field in dataclasses.fields(cls)}
        except FileNotFoundError:
            raise FreelightError(f"there are no predictions {path}; make them with: evaluate --predictions") from None
        except (EOFError, TypeError, ValueError, KeyError, BadZipFile) as error:
            raise FreelightError(f"{path} holds no predictions of evaluate ({error}); make them again") from None
        for name in ("fingerprint", "split", "views"):
            content[name] = content[name].item()
        return cls(**content)

    def judged(self) -> list[JudgedPass]:
        """Return what each network made of the split."""
        labelled = bool((self.labels >= 0).all())
        return [
            JudgedPass(judge(probabilities, self.labels) if labelled else None, seconds, reordered)
            for probabilities, seconds, reordered in zip(self.probabilities, self.seconds, self.reordered, strict=True)
        ]

    def require_of(self, dataset: Dataset, split: str, views: int, where: Path) -> None:
        """Raise `FreelightError` unless these are of that dataset's split, from so many views."""
        for what, own, wanted in (
            ("dataset", self.fingerprint[:12], dataset.fingerprint[:12]),
            ("split", self.split, split),
            ("views", self.views, views),
        ):
            if own != wanted:
                raise FreelightError(f"{where} is of another {what}: {own}, here {wanted}; make it again for this one")


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Put the networks of several predictions of one split together."""
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("names", "probabilities", "seconds", "reordered")
    }
    return dataclasses.replace(parts[0], **joined)


@dataclass(frozen=True, kw_only=True)
class PassConfig:
    """What to predict: the split of a dataset, with each checkpoint's network.

    shards, cache, cache_bytes: as of `TrainingConfig`. views: 1, the centre, or 10. batch_size: images at a time, over
    all processes. columns: processes a network. backend: of `launch`.
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


def earlier_predictions(config: PassConfig, dataset: Dataset, paths: Sequence[Path]) -> list[Predictions]:
    """Read the files of earlier passes. Raises `FreelightError` unless they are of the same split and views."""
    found = []
    for path in paths:
        found.append(Predictions.load(path))
        found[-1].require_of(dataset, config.split, config.views, path)
    return found


def collect_predictions(
    config: PassConfig, dataset: Dataset, earlier: Sequence[Predictions] = (), *, keep: Path | None = None
) -> Predictions:
    """Return the predictions of earlier passes, then those of a pass now; all go to the file `keep` too."""
    parts, labels = list(earlier), _labels(dataset.split(config.split))
    for path, found in zip(config.checkpoints, _launch_pass(config, predict_split), strict=True):
        parts.append(
            Predictions(
                names=np.array([str(path)]),
                probabilities=found.probabilities[None],
                labels=labels,
                seconds=np.array([found.seconds]),
                reordered=np.array([found.reordered]),
                fingerprint=dataset.fingerprint,
                split=config.split,
                views=config.views,
            )
        )
    joined = join_predictions(parts)
    if keep is not None:
        joined.save(keep)
    return joined


def judge_networks(config: PassConfig) -> list[JudgedPass]:
    """Return what each network makes of a labelled split; no more is held of it than its errors need."""
    return _launch_pass(config, judge_split)


def _launch_pass(config: PassConfig, look: Callable[..., Found | None]) -> list[Found]:
    """Return what `look`, `predict_split` or `judge_split`, finds with each checkpoint."""
    if not config.checkpoints:
        return []
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise FreelightError("evaluate starts its own processes (--columns 2); start it without torchrun")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found"
        work = functools.partial(write_pass, config, look, out)
        stopped = launch(work, columns=config.columns, replicas=1, backend=config.backend)
        if stopped:
            sys.exit(128 + stopped)
        found: list[Found] = pickle.loads(out.read_bytes())
        return found


def write_pass(
    config: PassConfig, look: Callable[..., Any], out: Path, mesh: Mesh, device: str, stop: StopRequest
) -> None:
    """Look in this process, at its place in the mesh; the first process pickles what was found to `out`. For `launch`.

    When asked to stop, nothing is written.
    """
    dataset, passes = config.dataset(), []
    for path in config.checkpoints:
        found = look(
            Checkpoint.load(path),
            dataset,
            config.split,
            views=config.views,
            batch_size=config.batch_size,
            mesh=mesh,
            device=device,
            stop=stop,
        )
        if found is None:
            return
        passes.append(found)
    if mesh.rank == 0:
        with out.open("wb") as file:
            pickle.dump(passes, file)


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
    """Return a loader of the split, in the order written, as the checkpoint's recipe evaluates."""
    if dataset.image_size != trained.image_size:
        raise FreelightError(
            f"{dataset.folder} has images of {dataset.image_size} pixels, the network was trained on "
            f"{trained.image_size}; make the dataset again with --size {trained.image_size}"
        )
    return Loader(
        dataset,
        split,
        batch_size=batch_size,
        transform=trained.recipe.evaluation_transform(views),
        statistics=trained.statistics,
        order="sequential",
        rank=mesh.rank,
        world_size=mesh.world_size,
        group=mesh.columns.group,
        device=device,
    )


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
) -> SplitPass | None:
    """Return a network's probabilities for a split, on every process.

    None: it was asked to stop. Raises `FreelightError` when the dataset's classes or image size are not the network's.
    """
    loader = evaluation_loader(trained, dataset, split, views=views, batch_size=batch_size, mesh=mesh, device=device)
    probabilities = np.zeros((len(loader.split), len(dataset.manifest.classes)), np.float32)

    def take(rows: npt.NDArray[np.int64], found: npt.NDArray[np.float32]) -> None:
        probabilities[rows] = found

    ended = _look(trained, dataset, loader, take, (probabilities,), mesh, stop)
    return None if ended is None else SplitPass(probabilities, *ended)


def judge_split(
    trained: Checkpoint,
    dataset: Dataset,
    split: str,
    *,
    mesh: Mesh = Mesh(),  # noqa: B008
    stop: StopRequest | None = None,
    **loading: Any,
) -> JudgedPass | None:
    """Return what a network makes of a labelled split, on every process; else as `predict_split`."""
    loader = evaluation_loader(trained, dataset, split, mesh=mesh, **loading)
    labels = _labels(loader.split)
    ranks, guesses, own = np.zeros_like(labels), np.zeros_like(labels), np.zeros(len(labels), np.float32)

    def take(rows: npt.NDArray[np.int64], found: npt.NDArray[np.float32]) -> None:
        judged = judge(found, labels[rows])
        ranks[rows], guesses[rows], own[rows] = judged.ranks, judged.guesses, judged.own

    ended = _look(trained, dataset, loader, take, (ranks, guesses, own), mesh, stop)
    answers = Answers(labels=labels, ranks=ranks, guesses=guesses, own=own)
    return None if ended is None else JudgedPass(answers, *ended)


def _look(
    trained: Checkpoint,
    dataset: Dataset,
    loader: Loader,
    take: Callable[[npt.NDArray[np.int64], npt.NDArray[np.float32]], None],
    taken: Sequence[npt.NDArray[Any]],
    mesh: Mesh,
    stop: StopRequest | None,
) -> tuple[float, bool] | None:
    """Have `take` fill the arrays `taken`, rows (samples,) each, from batches' rows and probabilities (rows, classes).

    Returns the seconds and whether classes were reordered; None: it was asked to stop.
    """
    label_map = trained.label_map(dataset)
    network = trained.network(mesh.columns).to(loader.device)
    times = np.zeros(len(loader.split), np.int64)
    start = time.perf_counter()
    for images, _, samples in _until_stopped(loader, mesh, stop):
        if len(samples):  # else other ranks have the rest of the last batch
            rows = samples.astype(np.int64)
            take(rows, view_probabilities(network, images).float().cpu()[:, label_map].numpy())
            times[rows] += 1
    if mesh.host_group is not None:
        for array in (*taken, times):
            if mesh.columns.rank:  # the columns of a replica have the same rows, of which one counts
                array[:] = 0
            dist.all_reduce(torch.from_numpy(array), group=mesh.host_group)
    if stop is not None and mesh.max_over_ranks(int(bool(stop.number))):
        return None
    assert bool((times == 1).all()), "each sample counts once"
    reordered = not torch.equal(label_map, torch.arange(len(label_map)))
    return time.perf_counter() - start, reordered


def _labels(split: Split) -> npt.NDArray[np.int64]:
    labels: npt.NDArray[np.int64] = split.samples["label"].astype(np.int64)
    return labels


def _until_stopped(batches: Iterable[Batch], mesh: Mesh, stop: StopRequest | None) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        if stop is not None and mesh.max_over_ranks(int(bool(stop.number))):
            return
