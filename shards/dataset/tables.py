"""The tables of a split, read with checks: its samples, their sources, and the keys in a shard's index."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from tarfile import BLOCKSIZE
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt

from ..base import Array, FreelightError, hash_file, read_array, read_limited
from ..images import MAX_PICTURE
from .manifest import METADATA, SAMPLE, SAMPLE_1, SplitInfo
from .schema import REMEDY

FIRST_PICTURE = 3 * BLOCKSIZE
"""Offset of the first JPEG in a shard: the label, its header and the JPEG's header lie before it. In an indexed shard
the picture's header alone may.
"""
_INDEX_LINE = re.compile(r"cls [0-9]+ [0-9]+ (\S+)\.cls jpg [0-9]+ [0-9]+ \1\.jpg(?: json [0-9]+ [0-9]+ \1\.json)?")
MAX_METADATA = 1 << 20
"""Maximum size of a sample's `.json`, bytes."""
# Limits of a line, bytes. A source path may name an archive and a member in it.
_INDEX_BYTES, _SOURCE_BYTES = 256, 1 << 14
_ESCAPED = re.compile(r"[\s%]")
_INDEXED_LINE = re.compile(r"\S+ [0-9]+ [0-9]+ \S+(?: \S+ [0-9]+ [0-9]+ \S+)*")


def read_samples(path: Path, info: SplitInfo, classes: int, image_size: int | None) -> npt.NDArray[np.void]:
    """Return the samples table of a split: dtype `SAMPLE`, (samples,).

    image_size: side of the images if all are squares of one size, which fills the columns that schema 1 did not have.

    Raises `FreelightError` if the file is changed, or if a row does not fit the manifest: shards in order and with the
    manifest's numbers of samples, JPEGs within their shards, labels within the classes, or -1 in a split without
    labels, and sizes within the manifest's.
    """
    found: npt.NDArray[np.void] = read_listed(
        path, Array(SAMPLE_1 if info.sizes is None else SAMPLE, (info.samples,)), info
    )
    if info.sizes is None:
        table = np.empty(info.samples, SAMPLE)
        for column in SAMPLE_1.names or ():
            table[column] = found[column]
        table["height"] = table["width"] = image_size
    else:
        table = found
    counts = [shard.samples for shard in info.shards]
    shards = np.repeat(np.arange(len(counts)), counts)
    room = np.repeat(np.array([shard.bytes for shard in info.shards]), counts) - table["length"]
    offsets = table["offset"].astype(np.int64)  # a value too large becomes negative
    least = 0 if info.labelled else -1
    first = BLOCKSIZE if info.indexed else FIRST_PICTURE
    _check_rows(path, table, "shard", table["shard"] != shards, shards, shards)
    _check_rows(path, table, "length", (table["length"] < 1) | (table["length"] > MAX_PICTURE), 1, MAX_PICTURE)
    _check_rows(path, table, "offset", (offsets < first) | (offsets > room), first, room)
    _check_rows(path, table, "label", (table["label"] < least) | (table["label"] >= classes), least, classes - 1)
    for column, sizes in (info.sizes or {}).items():
        least, most = (image_size or int(sizes[name]) for name in ("min", "max"))
        _check_rows(path, table, column, (table[column] < least) | (table[column] > most), least, most)
    return table


def to_schema_1(table: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return a samples table as schema 1 has it: dtype `SAMPLE_1`."""
    older = np.empty(len(table), SAMPLE_1)
    for column in SAMPLE_1.names or ():
        older[column] = table[column]
    return older


def _check_rows(
    path: Path, table: npt.NDArray[np.void], column: str, bad: npt.NDArray[np.bool_], least: Any, most: Any
) -> None:
    """Raise `FreelightError` for the first bad row. least, most: limits of the column, numbers or one per row."""
    if bad.any():
        row = int(bad.argmax())
        limits = [int(np.broadcast_to(limit, bad.shape)[row]) for limit in (least, most)]
        wanted = f"must be {limits[0]}" if limits[0] == limits[1] else f"must lie in {limits[0]}..{limits[1]}"
        raise FreelightError(f"{path}: row {row}: {column} (={table[column][row]}) {wanted}; {REMEDY}")


def read_listed(path: Path, expected: Array, info: SplitInfo) -> npt.NDArray[Any]:
    """Return the array of a file that the manifest lists. Raises `FreelightError` if it is missing or changed."""
    try:
        array = read_array(path, expected, remedy=REMEDY)
        sha256 = hash_file(path)
    except FileNotFoundError:
        raise FreelightError(f"{path} is missing; {REMEDY}") from None
    if sha256 != info.files.get(path.name):
        raise FreelightError(f"{path} was changed after it was written; {REMEDY}")
    return array


def read_metadata_table(path: Path, info: SplitInfo, shards: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """Return the table of the samples' `.json`: dtype `METADATA`, (samples,). shards: the shard of each sample.

    Raises `FreelightError` if a row does not lie within its shard, or is longer than `MAX_METADATA`.
    """
    table = read_listed(path, Array(METADATA, (info.samples,)), info)
    room = np.array([shard.bytes for shard in info.shards])[shards] - table["length"]
    offsets = table["offset"].astype(np.int64)  # a value too large becomes negative
    _check_rows(path, table, "length", table["length"] > MAX_METADATA, 0, MAX_METADATA)
    _check_rows(path, table, "offset", (offsets < 0) | (offsets > room), 0, room)
    return table


def read_sources(path: Path, samples: int) -> list[str]:
    """Return the source path of each sample. Raises `FreelightError` if there is another number of them."""
    # Not splitlines(): file names may hold the other characters at which it splits.
    lines = _read_text(path, samples * _SOURCE_BYTES).split("\n")
    if len(lines) - 1 != samples:
        raise FreelightError(f"{path} has {len(lines) - 1} lines, but the split has {samples} samples; {REMEDY}")
    return lines[:-1]


def read_keys(path: Path, samples: int, *, indexed: bool = False) -> Sequence[str]:
    """Return the WebDataset keys in the index of a shard. Raises `FreelightError` if it is not DALI's index v1.2.

    indexed: the shard is of other people, so its samples have any members, and `index_line` wrote the lines.
    """
    head, *lines = _read_text(path, (1 + samples) * (_SOURCE_BYTES if indexed else _INDEX_BYTES)).split("\n")
    if head != f"v1.2 {samples}" or len(lines) != samples + 1 or lines[-1]:
        raise FreelightError(f"{path} is not an index of {samples} samples; {REMEDY}")
    keys = []
    for number, line in enumerate(lines[:-1], 2):
        found = (_INDEXED_LINE if indexed else _INDEX_LINE).fullmatch(line)
        if found is None:
            raise FreelightError(f"{path}:{number}: {line[:80]!r} is not a line of DALI's index v1.2; {REMEDY}")
        keys.append(_key_of(line) if indexed else found[1])
    return keys


def index_line(members: Iterable[tuple[str, int, int, str]]) -> str:
    """Return a sample's line in DALI's index. members: extension, offset and length (bytes), and name of each.

    White space ends a word there, so it is percent-encoded in extensions and names, as is the percent sign.
    """
    return " ".join(f"{_escape(kind)} {at} {size} {_escape(name)}" for kind, at, size, name in members) + "\n"


def _escape(name: str) -> str:
    return _ESCAPED.sub(lambda found: quote(found[0], safe=""), name)


def _key_of(line: str) -> str:
    """Return the key in a line of `index_line`: a member's name up to the first dot of its last part."""
    folder, slash, base = line.rpartition(" ")[2].rpartition("/")
    return unquote(f"{folder}{slash}{base.partition('.')[0]}", errors="surrogateescape")


def _read_text(path: Path, limit: int) -> str:
    try:
        return read_limited(path, remedy=REMEDY, limit=limit).decode(errors="surrogateescape")
    except FileNotFoundError:
        raise FreelightError(f"{path} is missing; {REMEDY}") from None
