"""Compute a split's statistics in one pass over its shards, on any number of workers; resume after a stop."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base import Array, CountOrAuto, FreelightError, ask_store, atomic_write, lock_file, read_arrays, run_tasks
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
    workers: CountOrAuto = 1,
    cluster: str | None = None,
    watch: Watch = lambda parts, total: parts,
) -> Statistics:
    """Compute a split's statistics and save them. Resume a stopped computation; read finished statistics.

    out: the `.npz` file to write; by default the dataset's `statistics.npz`, which is for the training split alone;
    that of a dataset behind a URL is put there.
    The result is the same to the bit for any `workers` and `cluster`, and after any stops and restarts. Replaces
    statistics of an earlier dataset in the same directory. Raises `FreelightError`, and changes nothing, if `out`
    exists and holds something else, or if another run computes it.
    """
    dataset.split(split)  # raises an error if there is no such split
    path = _destination(dataset, split, out)
    found = _finished(path, dataset, split, own=out is None)
    is_new = found is None
    if found is None:
        with _lock(path):
            found = compute_statistics(
                dataset, split, workers=workers, cluster=cluster, record=unfinished_path(path), watch=watch
            )
            found.save(path)
    if unfinished_path(path).exists():  # finished statistics may lie in a folder that can only be read
        unfinished_path(path).unlink(missing_ok=True)
    if dataset.cache is not None and out is None:
        _publish(dataset, path, is_new=is_new)
    return found


def _publish(dataset: Dataset, path: Path, *, is_new: bool) -> None:
    """Put statistics beside the shards of a dataset behind a URL; finished ones only if they are not there."""
    assert dataset.cache is not None
    url = dataset.cache.url

    def publish(files: Any, root: str) -> None:
        for name in (f"{path.stem}.json", path.name):
            if is_new or not files.exists(f"{root}/{name}"):
                files.put_file(str(path.with_name(name)), f"{root}/{name}")

    what = f"the statistics cannot be put to {url}; name a file of this machine with `out`"
    ask_store(url, publish, what, missing=what, options=dataset.cache.options)


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
    workers: CountOrAuto = 1,
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
    done = _Finished.load(record, dataset, split) if record else _Finished.none(dataset, split)
    task = functools.partial(shard_moments, dataset, split)
    fresh = run_tasks(task, np.flatnonzero(~done.shards).tolist(), workers=workers, cluster=cluster)

    def parts() -> Iterator[RGBMoments]:
        if done.shards.any():
            yield _no_sums(dataset).merge(done.moments)  # a copy, because `done.moments` changes
        for shard, part in fresh:
            done.add(shard, part)
            if record:
                done.save(record, dataset, split)
            yield part

    for _ in watch(parts(), info.samples):
        pass
    return Statistics.from_moments(done.moments, fingerprint=dataset.fingerprint, split=split)


def _no_sums(dataset: Dataset) -> RGBMoments:
    """Return an estimator for the images of `dataset`: only squares of one size have a mean image."""
    return RGBMoments(mean_image=dataset.image_size is not None)


def shard_moments(dataset: Dataset, split: str, shard: int) -> tuple[int, RGBMoments]:
    """Return `shard`, the number of a shard, and the sums over its images."""
    moments = _no_sums(dataset)
    for images in decode_shard(dataset, split, shard):
        moments.partial_fit(images)
    return shard, moments


def decode_shard(dataset: Dataset, split: str, shard: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the decoded images of one shard in sample order, in batches: uint8 (n, H, W, 3), n = 1 if not squares.

    The next batch overwrites the memory of the last: new memory for each batch costs a tenth of the speed.
    """
    opened = dataset.split(split)
    samples = np.flatnonzero(opened.samples["shard"] == shard)
    most = min(_BATCH, len(samples)) if dataset.image_size is not None else 1
    images = np.empty((0, 0, 0, 3), np.uint8)
    for first in range(0, len(samples), most):
        batch = samples[first : first + most].tolist()
        for place, index in enumerate(batch):
            picture = np.asarray(opened.decode(index, opened.read(index)))
            if most == 1:
                images = picture[None]
                continue
            if not len(images):  # memory is taken after a first picture has the size that the manifest says
                images = np.empty((most, *picture.shape), np.uint8)
            images[place] = picture
        yield images[: len(batch)]
    opened.close()


@dataclass
class _Finished:
    """The sums over the finished shards, and which shards are finished: bool (shards,)."""

    moments: RGBMoments
    shards: npt.NDArray[np.bool_]

    @classmethod
    def none(cls, dataset: Dataset, split: str) -> "_Finished":
        return cls(_no_sums(dataset), np.zeros(len(dataset.manifest.splits[split].shards), bool))

    def add(self, shard: int, moments: RGBMoments) -> None:
        self.moments.merge(moments)
        self.shards[shard] = True

    def save(self, path: Path, dataset: Dataset, split: str) -> None:
        """Write the record atomically, as one file whose size does not depend on the number of finished shards."""
        sums = {name: getattr(self.moments, name) for name in _sums_of(dataset) if name != "shards"}
        content = {"fingerprint": dataset.fingerprint, "split": split, "shards": self.shards, **sums}
        with atomic_write(path) as file:
            np.savez(file, **content)

    @classmethod
    def load(cls, path: Path, dataset: Dataset, split: str) -> "_Finished":
        """Read the record. Return an empty one if there is none, or if it belongs to other data."""
        remedy = "delete it to start again"
        try:
            owner = read_arrays(path, _OWNER, remedy=remedy)
        except FileNotFoundError:
            return cls.none(dataset, split)
        if (owner["fingerprint"].item(), owner["split"].item()) != (dataset.fingerprint, split):
            return cls.none(dataset, split)
        found = read_arrays(path, _sums_of(dataset), remedy=remedy)
        finished = cls(_no_sums(dataset), found.pop("shards"))
        if not finished.fill(found, dataset.split(split).samples, len(dataset.manifest.splits[split].shards)):
            raise FreelightError(f"{path}: the sums are not those of the dataset's finished shards; {remedy}")
        return finished

    def fill(self, sums: dict[str, npt.NDArray[np.int64]], table: npt.NDArray[np.void], shards: int) -> bool:
        """Add the sums of a record. Return whether they can be those of the finished shards in the samples table."""
        if len(self.shards) != shards:
            return False
        rows = table[self.shards[table["shard"]]]
        pixels = int((rows["height"].astype(np.int64) * rows["width"]).sum())
        images, sum_image = sums["n_images_"].item(), sums.get("sum_image_")
        if sum_image is not None:
            sums |= {"n_pixels_": np.array(images * sum_image[..., 0].size), "sum_": sum_image.sum(axis=(0, 1))}
        if not images or (images, sums["n_pixels_"].item()) != (len(rows), pixels):
            return False
        self.moments.add_sums(images, pixels, sums["sum_"], sums["sum_products_"], sum_image)
        return self.moments.could_be_pixels()


_OWNER = {"fingerprint": Array(np.str_, ()), "split": Array(np.str_, ())}
_SUMS = {
    "shards": Array(np.bool_, ("shards",)),
    "n_images_": Array(np.int64, ()),
    "sum_products_": Array(np.int64, (3, 3)),
}
_OF_SQUARES = {"sum_image_": Array(np.int64, ("side", "side", 3))}
_OF_OTHERS = {"n_pixels_": Array(np.int64, ()), "sum_": Array(np.int64, (3,))}


def _sums_of(dataset: Dataset) -> dict[str, Array]:
    """Return what a record holds besides its owner: of squares as in version 0.1, whose records are continued."""
    return _SUMS | (_OF_OTHERS if dataset.image_size is None else _OF_SQUARES)


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
    raise FreelightError(f"`out` {path} exists, and does not belong to {split} of {dataset.place}; name another file")
