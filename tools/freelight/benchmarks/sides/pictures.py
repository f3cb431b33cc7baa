"""The pictures that every side reads: files to prepare, and the JPEGs of a dataset to convert."""

import json
from pathlib import Path

import numpy as np

File = tuple[str, int]
"""Path of a picture, and its label."""
Part = tuple[str, int, int, int]
"""Path of a shard, a JPEG's offset and length in it, bytes, and its label."""


def listed_files(listing: str) -> list[File]:
    """Read a list of files that `command` wrote."""
    return [(path, label) for path, label in json.loads(Path(listing).read_text(encoding="utf-8"))]


def dataset_parts(folder: str) -> list[Part]:
    """List the training JPEGs of a dataset directory, read through its samples table."""
    shards = [str(path) for path in sorted(Path(folder).glob("train-*.tar"))]
    rows = np.load(Path(folder, "train.samples.npy"))
    return [(shards[row["shard"]], int(row["offset"]), int(row["length"]), int(row["label"])) for row in rows]


def read_part(part: Part) -> bytes:
    """Return a JPEG."""
    path, offset, length, _ = part
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)


def shard_bytes(dataset: str) -> int:
    """Return the size of the largest training shard: the shards of other formats are about as large."""
    return max(path.stat().st_size for path in Path(dataset).glob("train-*.tar"))
