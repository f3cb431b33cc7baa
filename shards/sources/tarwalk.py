"""List the members of a tar by reading its 512-byte headers; nothing is unpacked.

Python's `tarfile` takes 40 s for the 1,281,167 members of ImageNet's training archive; this takes 4 s. It reads ustar,
GNU long names and the pax records `path` and `size`. Names are never used as paths in the file system, so `..` and
links are harmless.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..base import FreelightError
from .listing import read_exactly

BLOCK = 512
_ZEROS = bytes(BLOCK)
# Name, size, checksum, kind, magic, prefix.
_FIELDS = struct.Struct("100s 24x 12s 12x 8s c 100x 6s 82x 155s 12x").unpack

# (offset, length) -> the bytes there, or fewer at the end of the data. `walk_tar` calls it with growing offsets.
ReadAt = Callable[[int, int], bytes]


class Member(NamedTuple):
    """A regular file within a tar: its name, and the offset and size of its content, in bytes."""

    name: str
    offset: int
    bytes: int


def walk_tar(read_at: ReadAt, where: object, start: int = 0, end: int | None = None) -> Iterator[Member]:
    """Yield the regular files of the tar in bytes `start..end` (None: to the end), and skip folders.

    where: name of the tar for errors. Raises `FreelightError` for data that is no tar, is cut short, or holds links or
    devices.
    """
    position = start
    name, size = None, None
    while True:
        block = read_at(position, BLOCK) if end is None or position + BLOCK <= end else b""
        if block == _ZEROS:
            return
        if len(block) < BLOCK:
            raise FreelightError(f"{where} is cut short: its end mark is missing at byte {position}; fetch it again")
        raw_name, digits, checksum, kind, magic, prefix = _FIELDS(block)
        if not _is_header(block, checksum):
            raise FreelightError(f"{where} is not a tar, or is damaged, at byte {position}; fetch it again")
        length = _number(digits)
        content = position + BLOCK
        if name is None and kind not in b"xLgK":
            name = _name(raw_name, magic, prefix)
        if kind == b"x":
            records = _pax_records(read_at(content, length))
            name, size = records.get("path", name), int(records["size"]) if "size" in records else size
        elif kind == b"L":
            name = os.fsdecode(read_at(content, length).rstrip(b"\0"))
        elif kind not in b"gK":  # g: comments for all members; K: a long link target
            length = length if size is None else size
            if kind in b"0\0007":
                if end is not None and content + length > end:
                    raise FreelightError(f"{where} is cut short within a member at byte {content}; fetch it again")
                yield Member(str(name), content, length)
            elif kind == b"5":
                length = 0
            else:
                raise FreelightError(
                    f"{where} holds the link or device {name!r}, which is not followed; unpack it and give the folder"
                )
            name, size = None, None
        position = content + -(-length // BLOCK) * BLOCK


def open_tar(path: Path) -> Iterator[tuple[Member, ReadAt]]:
    """Yield the members of the tar file `path`, each with a function that reads the file at any offset."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:

        def read_at(offset: int, length: int) -> bytes:
            return read_exactly(descriptor, offset, length)

        size = os.fstat(descriptor).st_size
        for member in walk_tar(read_at, path):
            if member.offset + member.bytes > size:
                raise FreelightError(f"{path} is cut short within {member.name}; fetch it again")
            yield member, read_at
    finally:
        os.close(descriptor)


def _is_header(block: bytes, checksum: bytes) -> bool:
    """Check the header's checksum: the sum of its bytes, with the checksum's own field set to spaces."""
    try:
        expected = int(checksum.strip(b" \0"), 8)
    except ValueError:
        return False
    # The lower half of adler32 is 1 + the sum of the bytes, modulo 65521. It is faster than sum().
    return (zlib.adler32(block) & 0xFFFF) == (1 + expected + sum(checksum) - 8 * ord(" ")) % 65521


def _number(digits: bytes) -> int:
    """Read a size: octal digits, or base 256 if the top bit is set (sizes over 8 GiB)."""
    if digits[0] & 0x80:
        return int(struct.unpack(">Q", digits[4:12])[0])
    return int(digits.strip(b" \0") or b"0", 8)


def _name(name: bytes, magic: bytes, prefix: bytes) -> str:
    name = name.partition(b"\0")[0]
    if magic == b"ustar\0" and prefix[0]:  # with GNU's magic the field holds something else
        name = prefix.partition(b"\0")[0] + b"/" + name
    return name.decode("utf-8", "surrogateescape")


def _pax_records(data: bytes) -> dict[str, str]:
    """Read "<length> <key>=<value>\\n" records."""
    records = {}
    while data and b" " in data:
        length = int(data.split(b" ", 1)[0])
        key, _, value = data[:length].split(b" ", 1)[1].rstrip(b"\n").partition(b"=")
        records[os.fsdecode(key)] = os.fsdecode(value)
        data = data[length:]
    return records
