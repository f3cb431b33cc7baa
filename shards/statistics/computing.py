"""Compute a split's statistics in one pass over its shards, on any number of workers; resume after a stop."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..base import Array, FreelightError, atomic_write, lock_file, read_arrays, run_tasks
from ..dataset import Dataset
from .moments import RGBMoments
from .statistics import STATISTICS, TRAINING_SPLIT, Statistics, unfinished_path

Watch = Callable[[Iterable[RGBMoments], int], Iterable[RGBMoments]]

# Images that are decoded before they are summed: 13 MB.
_BATCH = 64


def write_statistics(
    dataset: Dataset,
    split: str = TRAINING_SPLIT,
    *,
    out: Path | None = None,
    workers: int = 1,
    cluster: str | None = None,
    watch: Watch = lambda parts, total: parts,
) -> Statistics:
    """Compute a split's statistics and save them. Resume a stopped computation; read finished statistics.

    out: the `.npz` file to write; by default the dataset's `statistics.npz`, which is for the training split alone.
    The result is the same to the bit for any `workers` and `cluster`, and after any stops and restarts. Replaces
    statistics of an earlier dataset in the same directory. Raises `FreelightError`, and changes nothing, if `out`
    exists and holds something else, or if another run computes it.
    """
    dataset.split(split)  # raises an error if there is no such split
    path = _destination(dataset, split, out)
    found = _finished(path, dataset, split, own=out is None)
    if found is None:
        with _lock(path):
            found = compute_statistics(
                dataset, split, workers=workers, cluster=cluster, record=unfinished_path(path), watch=watch
            )
            found.save(path)
    if unfinished_path(path).exists():  # finished statistics may lie in a folder that can only be read
        unfinished_path(path).unlink(missing_ok=True)
    return found


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Keep a second run from computing the statistics file `path`. Raises `FreelightError` if one does so already."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        descriptor = lock_file(lock)
    except BlockingIOError:
        raise FreelightError(
            f"another run is computing {path}; wait for it: the same command then reads its result"
        ) from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def compute_statistics(
    dataset: Dataset,
    split: str = TRAINING_SPLIT,
    *,
    workers: int = 1,
    cluster: str | None = None,
    record: Path | None = None,
    watch: Watch = lambda parts, total: parts,
) -> Statistics:
    """Compute a split's statistics in one pass over its shards. Any number of workers gives the same bits.

    workers, cluster: as in `run_tasks`. record: file for the sums of finished shards, from which a restart resumes.
    watch: gets the sums of finished shards, recorded ones first, and the number of images, and yields the same sums,
    for example to show a progress bar.
    """
    info = dataset.split(split).info
    done = _Finished.load(record, dataset, split) if record else _Finished.none(len(info.shards))
    task = functools.partial(shard_moments, dataset, split)
    fresh = run_tasks(task, np.flatnonzero(~done.shards).tolist(), workers=workers, cluster=cluster)

    def parts() -> Iterator[RGBMoments]:
        if done.shards.any():
            yield RGBMoments().merge(done.moments)  # a copy, because `done.moments` changes
        for shard, part in fresh:
            done.add(shard, part)
            if record:
                done.save(record, dataset, split)
            yield part

    for _ in watch(parts(), info.samples):
        pass
    return Statistics.from_moments(done.moments, fingerprint=dataset.fingerprint, split=split)


def shard_moments(dataset: Dataset, split: str, shard: int) -> tuple[int, RGBMoments]:
    """Return `shard`, the number of a shard, and the sums over its images."""
    moments = RGBMoments()
    for images in decode_shard(dataset, split, shard):
        moments.partial_fit(images)
    return shard, moments


def decode_shard(dataset: Dataset, split: str, shard: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the decoded images of one shard in sample order, in batches: uint8 (n, H, W, 3).

    The next batch overwrites the memory of the last: new memory for each batch costs a tenth of the speed.
    """
    opened = dataset.split(split)
    samples = np.flatnonzero(opened.samples["shard"] == shard)
    size = dataset.require_squares()
    images = np.empty((0, size, size, 3), np.uint8)
    for first in range(0, len(samples), _BATCH):
        batch = samples[first : first + _BATCH].tolist()
        for place, index in enumerate(batch):
            picture = opened.decode(index, opened.read(index))
            if not len(images):  # memory is taken after a first picture has the size that the manifest says
                images = np.empty((min(_BATCH, len(samples)), size, size, 3), np.uint8)
            images[place] = np.asarray(picture)
        yield images[: len(batch)]
    opened.close()


@dataclass
class _Finished:
    """The sums over the finished shards, and which shards are finished: bool (shards,)."""

    moments: RGBMoments
    shards: npt.NDArray[np.bool_]

    @classmethod
    def none(cls, shards: int) -> "_Finished":
        return cls(RGBMoments(), np.zeros(shards, bool))

    def add(self, shard: int, moments: RGBMoments) -> None:
        self.moments.merge(moments)
        self.shards[shard] = True

    def save(self, path: Path, dataset: Dataset, split: str) -> None:
        """Write the record atomically, as one file whose size does not depend on the number of finished shards."""
        content = {"fingerprint": dataset.fingerprint, "split": split, "shards": self.shards, **vars(self.moments)}
        with atomic_write(path) as file:
            np.savez(file, **content)

    @classmethod
    def load(cls, path: Path, dataset: Dataset, split: str) -> "_Finished":
        """Read the record. Return an empty one if there is none, or if it belongs to other data."""
        shards = dataset.manifest.splits[split].shards
        remedy = "delete it to start again"
        try:
            found = read_arrays(path, _RECORD, remedy=remedy)
        except FileNotFoundError:
            return cls.none(len(shards))
        if (found["fingerprint"].item(), found["split"].item()) != (dataset.fingerprint, split):
            return cls.none(len(shards))
        done, moments = found["shards"], RGBMoments()
        moments.n_images_ = found["n_images_"].item()
        moments.sum_image_, moments.sum_products_ = found["sum_image_"], found["sum_products_"]
        size = dataset.require_squares()
        images = sum(shard.samples for shard, is_done in zip(shards, done.tolist(), strict=False) if is_done)
        if (len(done), moments.n_images_, len(moments.sum_image_)) != (len(shards), images, size) or not (
            moments.could_be_pixels()
        ):
            raise FreelightError(f"{path}: the sums are not those of the dataset's finished shards; {remedy}")
        return cls(moments, done)


_RECORD = {
    "fingerprint": Array(np.str_, ()),
    "split": Array(np.str_, ()),
    "shards": Array(np.bool_, ("shards",)),
    "n_images_": Array(np.int64, ()),
    "sum_image_": Array(np.int64, ("side", "side", 3)),
    "sum_products_": Array(np.int64, (3, 3)),
}


def _destination(dataset: Dataset, split: str, out: Path | None) -> Path:
    """Return the file to write. Raises `FreelightError` for `statistics.npz` and a split other than `train`."""
    own = dataset.folder / STATISTICS
    if out is None:
        if split != TRAINING_SPLIT:
            raise FreelightError(
                f"{own} is for the split {TRAINING_SPLIT}, not {split}; give another file: `out` {split}.npz"
            )
        return own
    if out.suffix != ".npz":
        raise FreelightError(f"`out` {out} must end in .npz")
    if not out.parent.is_dir():
        raise FreelightError(f"`out` {out}: there is no folder {out.parent}; make it first")
    if out.resolve() == own.resolve():
        raise FreelightError(f"`out` {out} is the default output; omit `out`, or name another file")
    return out


def _finished(path: Path, dataset: Dataset, split: str, *, own: bool) -> Statistics | None:
    """Return the statistics in `path` if they belong to this split; None if `path` may be written."""
    if not path.exists():
        return None
    try:
        found = Statistics.load(path)
    except FreelightError:
        found = None
    if found is not None and found.is_of(dataset, split):
        return found
    if own:
        return None
    raise FreelightError(f"`out` {path} exists, and does not belong to {split} of {dataset.folder}; name another file")
