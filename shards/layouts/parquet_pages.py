"""Read the page headers of a parquet column, because pyarrow takes the memory that a header declares.

A page of 16 kB can declare, and unpack to, 2 GB. A header is a struct in Thrift's compact protocol; its first fields
are the type, the size unpacked and the size in the file. https://github.com/apache/parquet-format
"""

import os

MAX_HEADER = 1 << 20
"""Upper bound for a page's header, bytes: it may hold the smallest and the largest value."""
_UNPACKED, _PACKED = 2, 3


def largest_page(descriptor: int, start: int, length: int) -> int:
    """Return the largest unpacked size that a page in `length` bytes from `start` declares, bytes.

    Raises ValueError if a header cannot be read.
    """
    largest, position, end = 0, start, start + length
    while position < end:
        header = _read_header(descriptor, position, end)
        if header.unpacked < 0 or header.packed < 0:
            raise ValueError(f"the page at byte {position} declares a negative size")
        largest = max(largest, header.unpacked)
        position += header.length + header.packed
    return largest


class _Header:
    """A page header at the beginning of `data`. Raises IndexError if `data` ends within it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = 0
        sizes = self._struct(0)
        self.unpacked, self.packed = sizes.get(_UNPACKED, -1), sizes.get(_PACKED, -1)

    def _byte(self) -> int:
        self.length += 1
        return self._data[self.length - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a page header holds a number of more than 64 bits")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _struct(self, depth: int) -> dict[int, int]:
        """Pass over a struct, and return its integers by field."""
        if depth > 4:
            raise ValueError("a page header is nested too deeply")
        integers: dict[int, int] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._integer()
            kind = head & 0x0F
            if kind in (5, 6):
                integers[field] = self._integer()
            elif kind == 12:
                self._struct(depth + 1)
            else:
                self._skip(kind)
        return integers

    def _skip(self, kind: int) -> None:
        """Pass over a value of another kind that page headers have: booleans, a byte, a short, a double, bytes."""
        if kind in (3, 4):
            self._varint()
        elif kind == 7:
            self.length += 8
        elif kind == 8:
            length = self._varint()
            self.length += length
        elif kind not in (1, 2):
            raise ValueError(f"a page header holds a value of kind {kind}")


def _read_header(descriptor: int, position: int, end: int) -> _Header:
    size = 4096
    while True:
        data = os.pread(descriptor, min(size, end - position), position)
        try:
            header = _Header(data)
            if header.length <= len(data):
                return header
        except IndexError:
            pass
        if len(data) < size or size >= MAX_HEADER:
            raise ValueError(f"the page header at byte {position} is cut short, or has over {MAX_HEADER} bytes")
        size *= 16
