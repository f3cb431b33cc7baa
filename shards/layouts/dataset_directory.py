"""A finished dataset of Freelight as a source: its tables say where each picture lies, so no tar is walked."""

from pathlib import Path

import numpy as np

from ..base import FreelightError
from ..dataset import MANIFEST, Dataset, read_keys, samples_name
from ..sources import UNLABELLED, ByClass, Listing, SourceImage

UNFINISHED = ".partial"
"""The folder of a dataset that is not finished."""


def is_dataset(folder: Path) -> bool:
    """Tell whether a folder is a finished dataset, by its files' names."""
    return (folder / MANIFEST).is_file() and any(folder.glob(samples_name("*")))


def list_dataset(folder: Path, layout: str) -> Listing:
    """List the pictures of a dataset, with its classes and names: each as `<tar>/<key>.jpg`.

    A picture in an indexed tar has the name that it has there. Raises `FreelightError` if a table is missing or
    damaged, if a shard is missing or has another size, or if the tars lie behind a URL.
    """
    dataset = Dataset(folder)
    classes = dataset.manifest.classes
    listing = Listing(root=folder, layout=layout, splits={}, names={info.id: info.name for info in classes})
    if dataset.manifest.label_order == "ilsvrc":
        listing.devkit_order = tuple(info.id for info in classes)
    for name, info in dataset.manifest.splits.items():
        if info.base is not None:
            raise FreelightError(
                f"{folder}: the tars of {name} lie at {info.base}, but pictures are read from local files; fetch them, "
                "and index them again"
            )
        if info.fields:
            listing.notes.append(f"{name}: the fields are left out: {', '.join(info.fields)}")
        split = dataset.split(name)
        table, sources = split.samples, iter(split.sources if info.indexed else ())
        # Every class of train, or one without a picture there would be missing in silence, and change later labels.
        found: ByClass = {info.id: [] for info in classes} if name == "train" else {}
        ends = np.cumsum([shard.samples for shard in info.shards])
        for number, (shard, rows) in enumerate(zip(info.shards, np.split(table, ends[:-1]), strict=True)):
            mtime = _mtime(folder / shard.name, shard.bytes)
            keys = read_keys(folder / info.index_name(name, number), shard.samples, indexed=info.indexed)
            for key, (offset, length, label) in zip(keys, rows[["offset", "length", "label"]].tolist(), strict=True):
                path = next(sources, f"{shard.name}/{key}.jpg")  # the other people's name, if they made the tar
                image = SourceImage(path, UNLABELLED, shard.name, offset, length, mtime)
                found.setdefault(classes[label].id if label >= 0 else None, []).append(image)
        listing.splits[name] = found
    return listing


def _mtime(shard: Path, size: int) -> int:
    """Return when a shard was written. Raises `FreelightError` if it is missing, or does not have `size` bytes."""
    if not shard.is_file():
        raise FreelightError(f"{shard} is missing, though the manifest lists it; copy it back")
    status = shard.stat()
    if status.st_size != size:
        raise FreelightError(f"{shard} has {status.st_size} bytes, but {size} in the manifest; copy it back")
    return status.st_mtime_ns
