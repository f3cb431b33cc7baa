"""Read what a parquet file declares, because pyarrow takes the memory that a page's header declares.

A page of 16 kB can declare, and unpack to, 2 GB. The footer is read here too: pyarrow ends the process for some damaged
ones when it is asked for the place of a column. https://github.com/apache/parquet-format
"""

import os
from pathlib import Path
from typing import NamedTuple

from .thrift import INT32, INT64, LIST, STRUCT, Compact

MAGIC = b"PAR1"
MAX_FOOTER = 64 << 20
MAX_HEADER = 1 << 20
"""Upper bound for a page's header, bytes: it may hold the smallest and the largest value."""


class Chunk(NamedTuple):
    """The place in the file of the pages of one column of a row group, bytes."""

    start: int
    length: int


class Group(NamedTuple):
    """A row group as the footer declares it."""

    rows: int
    chunks: tuple[Chunk, ...]


def read_groups(path: Path) -> list[Group]:
    """Return the row groups in the footer of a file. Raises ValueError if it cannot be read."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 8, 0))
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if not tail.endswith(MAGIC) or length > min(size - 8, MAX_FOOTER):
            raise ValueError("it has no footer")
        file.seek(size - 8 - length)
        footer = Compact(file.read(length))
    groups: list[Group] = []
    try:
        for number, kind in footer.fields():
            if (number, kind) == (4, LIST):
                groups = [_read_group(footer, item) for item in footer.items()]
            else:
                footer.skip(kind)
    except IndexError:
        raise ValueError("its footer is cut short") from None
    return groups


def largest_page(descriptor: int, chunk: Chunk) -> int:
    """Return the largest unpacked size that a page of a column declares, bytes.

    Raises ValueError if a page's header cannot be read.
    """
    largest, position, end = 0, chunk.start, chunk.start + chunk.length
    while position < end:
        unpacked, packed, length = _read_header(descriptor, position, end)
        if unpacked < 0 or packed < 0:
            raise ValueError(f"the page at byte {position} declares no size")
        largest = max(largest, unpacked)
        position += length + packed
    return largest


def _read_group(footer: Compact, kind: int) -> Group:
    rows, chunks = -1, []
    _require(kind == STRUCT)
    for number, inner in footer.fields():
        if (number, inner) == (1, LIST):
            chunks = [_read_chunk(footer, item) for item in footer.items()]
        elif (number, inner) == (3, INT64):
            rows = footer.integer()
        else:
            footer.skip(inner)
    return Group(rows, tuple(chunks))


def _read_chunk(footer: Compact, kind: int) -> Chunk:
    numbers = dict.fromkeys((7, 9, 11), 0)  # size in the file, first data page, dictionary
    _require(kind == STRUCT)
    for outer, outer_kind in footer.fields():
        if (outer, outer_kind) != (3, STRUCT):
            footer.skip(outer_kind)
            continue
        for number, inner in footer.fields():
            if number in numbers and inner == INT64:
                numbers[number] = footer.integer()
            else:
                footer.skip(inner)
    start = numbers[11] if 0 < numbers[11] < numbers[9] else numbers[9]
    _require(start >= 0 and numbers[7] >= 0)
    return Chunk(start, numbers[7])


def _read_header(descriptor: int, position: int, end: int) -> tuple[int, int, int]:
    """Return a page's unpacked size, its size in the file (-1 if not declared), and the length of its header."""
    size = 4096
    while True:
        data = os.pread(descriptor, min(size, end - position), position)
        header = Compact(data)
        sizes = {2: -1, 3: -1}
        try:
            for number, kind in header.fields():
                if number in sizes and kind == INT32:
                    sizes[number] = header.integer()
                else:
                    header.skip(kind)
            return sizes[2], sizes[3], header.position
        except IndexError:
            if len(data) < size or size >= MAX_HEADER:
                raise ValueError(f"the header of the page at byte {position} is cut short or too large") from None
        size *= 16


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError("its footer is damaged")
