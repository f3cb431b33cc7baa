"""A dataset with any number of samples, made from the shards of a small dataset by repeating rows of its table."""

import dataclasses
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from freelight.shards import Dataset, FreelightError, Statistics
from freelight.shards.dataset import SCHEMA, Split, SplitInfo, samples_name, sources_name, summarize_sizes
from freelight.shards.statistics import STATISTICS


def repeat_samples(dataset: Dataset, split: str, samples: int, folder: Path, *, keep: Sequence[str] = ()) -> Dataset:
    """Make a dataset in `folder` whose `split` has `samples` samples, with links to the shards of `dataset`.

    Rows are in the order of the shards, as in a table that make_shards wrote. keep: other splits to link as they are.
    """
    if samples < 1:
        raise FreelightError(f"samples (={samples}) must be at least 1")
    given = dataset.split(split)
    rows = np.sort(np.arange(samples) % len(given))
    folder.mkdir(parents=True)
    # The first shards: the rest has no sample if there are fewer samples than in `given`.
    counts = np.bincount(given.samples["shard"][rows]).tolist()
    shards = tuple(
        dataclasses.replace(shard, samples=count) for shard, count in zip(given.info.shards, counts, strict=False)
    )
    kept = {name: dataset.manifest.splits[name] for name in keep}
    linked = [name for other in kept.values() for name in (*other.files, *(shard.name for shard in other.shards))]
    for name in (*(shard.name for shard in shards), *linked):
        (folder / name).symlink_to((dataset.folder / name).absolute())
    info = _write_tables(folder, given, given.samples[rows], [given.sources[row] for row in rows.tolist()])
    info = dataclasses.replace(info, kinds={"repeated": samples}, shards=shards)
    dataclasses.replace(dataset.manifest, splits={split: info, **kept}, schema=SCHEMA).save(folder)
    repeated = Dataset(folder)
    if (dataset.folder / STATISTICS).exists():
        statistics = Statistics.load(dataset.folder)
        dataclasses.replace(statistics, fingerprint=repeated.fingerprint).save(folder)
    return repeated


def copy_shards(dataset: Dataset, split: str, copies: int, folder: Path) -> Dataset:
    """Make a dataset in `folder` whose `split` has `copies` copies of each shard of `dataset`, each a file."""
    given = dataset.split(split)
    folder.mkdir(parents=True)
    shards = []
    for number in range(copies * len(given.info.shards)):
        shard = given.info.shards[number % len(given.info.shards)]
        shards.append(dataclasses.replace(shard, name=f"{split}-{number:06d}.tar"))
        shutil.copyfile(dataset.folder / shard.name, folder / shards[-1].name)
    samples = np.tile(given.samples, copies)
    samples["shard"] += np.repeat(np.arange(copies, dtype=np.uint32), len(given)) * np.uint32(len(given.info.shards))
    info = _write_tables(folder, given, samples, given.sources * copies)
    info = dataclasses.replace(info, kinds={"copied": len(samples)}, shards=tuple(shards))
    dataclasses.replace(dataset.manifest, splits={split: info}, schema=SCHEMA).save(folder)
    return Dataset(folder)


def _write_tables(folder: Path, given: Split, samples: npt.NDArray[np.void], sources: Sequence[str]) -> SplitInfo:
    """Write the tables of a split made from `given`, and return what the manifest says of it, but for its shards."""
    names = (samples_name(given.name), sources_name(given.name))
    np.save(folder / names[0], samples)
    text = "".join(f"{source}\n" for source in sources)
    (folder / names[1]).write_text(text, encoding="utf-8", errors="surrogateescape")
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    return dataclasses.replace(given.info, samples=len(samples), files=files, sizes=summarize_sizes(given.samples))
