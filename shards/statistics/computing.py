"""Compute a split's statistics: one pass over its shards, on any number of workers, resumable shard by shard."""

import functools
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..base.atomic import atomic_write
from ..base.errors import FreelightError
from ..base.executor import run_tasks
from ..dataset.directory import Dataset
from .moments import RGBMoments
from .statistics import STATISTICS, TRAINING_SPLIT, Statistics, unfinished_path

Watch = Callable[[Iterable[RGBMoments], int], Iterable[RGBMoments]]

# Images decoded at a time: enough to make the calls cheap, 13 MB.
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
    """Compute a split's statistics and save them, or finish what was begun, or read what is there already.

    out: the `.npz` file to write; by default the dataset's `statistics.npz`, which is for the training split alone.
    The bits do not depend on `workers` or `cluster`, nor on kills and restarts: each finished shard is recorded.
    Statistics of an earlier dataset in the same directory are replaced; any other file named by `out` is left alone,
    and an error.
    """
    dataset.split(split)  # raises where there is none
    path = _destination(dataset, split, out)
    found = _finished(path, dataset, split, own=out is None)
    if found is None:
        found = compute_statistics(
            dataset, split, workers=workers, cluster=cluster, record=unfinished_path(path), watch=watch
        )
        found.save(path)
    unfinished_path(path).unlink(missing_ok=True)
    return found


def compute_statistics(
    dataset: Dataset,
    split: str = TRAINING_SPLIT,
    *,
    workers: int = 1,
    cluster: str | None = None,
    record: Path | None = None,
    watch: Watch = lambda parts, total: parts,
) -> Statistics:
    """Compute a split's statistics in one pass over its shards, by `run_tasks`: who does it does not change a bit.

    record: file to keep the sums of finished shards in, and to go on from. `watch(parts, total)` sees the sums of every
    shard as it is finished, those recorded first (`total`: images), for a progress bar.
    """
    info = dataset.split(split).info
    done = _Done.load(record, dataset, split) if record else _Done.nothing(len(info.shards))
    task = functools.partial(shard_moments, dataset, split)
    fresh = run_tasks(task, np.flatnonzero(~done.shards).tolist(), workers=workers, cluster=cluster)

    def parts() -> Iterator[RGBMoments]:
        if done.shards.any():
            yield RGBMoments().merge(done.moments)  # of its own: these go on growing
        for shard, part in fresh:
            done.add(shard, part)
            if record:
                done.save(record, dataset, split)
            yield part

    for _ in watch(parts(), info.samples):
        pass
    return Statistics.from_moments(done.moments, fingerprint=dataset.fingerprint, split=split)


def shard_moments(dataset: Dataset, split: str, shard: int) -> tuple[int, RGBMoments]:
    """Return the number of a shard, and the sums over it."""
    moments = RGBMoments()
    for images in decode_shard(dataset, split, shard):
        moments.partial_fit(images)
    return shard, moments


def decode_shard(dataset: Dataset, split: str, shard: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the decoded images of one shard in sample order, some at a time: uint8 (n, H, W, 3).

    They lie where the next ones will: memory that is new each time costs a tenth of the speed.
    """
    opened = dataset.split(split)
    samples = np.flatnonzero(opened.samples["shard"] == shard)
    images = np.empty((_BATCH, dataset.image_size, dataset.image_size, 3), np.uint8)
    for first in range(0, len(samples), _BATCH):
        batch = samples[first : first + _BATCH].tolist()
        for place, index in enumerate(batch):
            images[place] = np.asarray(Image.open(io.BytesIO(opened.read(index))))
        yield images[: len(batch)]
    opened.close()


@dataclass
class _Done:
    """The sums over the shards that are finished, and which those are: bool (shards,)."""

    moments: RGBMoments
    shards: npt.NDArray[np.bool_]

    @classmethod
    def nothing(cls, shards: int) -> "_Done":
        return cls(RGBMoments(), np.zeros(shards, bool))

    def add(self, shard: int, moments: RGBMoments) -> None:
        self.moments.merge(moments)
        self.shards[shard] = True

    def save(self, path: Path, dataset: Dataset, split: str) -> None:
        """Write it all as one file, atomically: its size does not grow with the shards."""
        content = {"fingerprint": dataset.fingerprint, "split": split, "shards": self.shards, **vars(self.moments)}
        with atomic_write(path) as file:
            np.savez(file, **content)

    @classmethod
    def load(cls, path: Path, dataset: Dataset, split: str) -> "_Done":
        """Read the record; begin anew where there is none, or one of other data."""
        nothing = cls.nothing(len(dataset.manifest.splits[split].shards))
        try:
            with path.open("rb") as file, np.load(file) as archive:
                if (archive["fingerprint"].item(), archive["split"].item()) != (dataset.fingerprint, split):
                    return nothing
                moments = RGBMoments()
                moments.n_images_ = archive["n_images_"].item()
                moments.sum_image_, moments.sum_products_ = archive["sum_image_"], archive["sum_products_"]
                return cls(moments, archive["shards"])
        except FileNotFoundError:
            return nothing
        except (EOFError, ValueError, KeyError, BadZipFile) as error:
            raise FreelightError(f"{path} cannot be read ({error}); delete it to begin anew") from None


def _destination(dataset: Dataset, split: str, out: Path | None) -> Path:
    """Return the file to write; refuse what would put another split's statistics where training looks for its own."""
    own = dataset.folder / STATISTICS
    if out is None:
        if split != TRAINING_SPLIT:
            raise FreelightError(
                f"{own} is for the split {TRAINING_SPLIT}, not {split}; name a file for these: --out {split}.npz"
            )
        return own
    if out.suffix != ".npz":
        raise FreelightError(f"--out {out} must end in .npz")
    if not out.parent.is_dir():
        raise FreelightError(f"--out {out}: there is no folder {out.parent}; make it first")
    if out.resolve() == own.resolve():
        raise FreelightError(f"--out {out} is the dataset's own file, which is written without --out; name another")
    return out


def _finished(path: Path, dataset: Dataset, split: str, *, own: bool) -> Statistics | None:
    """Return the statistics that `path` already holds, if they are of this split; None when it may be written."""
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
    raise FreelightError(f"--out {path} is there already, and is not of {split} of {dataset.folder}; name another")
