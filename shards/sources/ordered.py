"""Ordered sources: those that can only be read from beginning to end, such as a tar.gz or a parquet row group.

`segments.py` rescales their pictures once, in their order, before the shards are written.
"""

import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from ..base import FreelightError, open_regular
from ..images import MAX_PICTURE
from .ignoring import ignored_member
from .labelling import Labelling
from .tarwalk import Member, walk_tar

CHUNK = 1 << 20
IGNORED = "ignored"
_MOST = f"a picture within an archive may have {MAX_PICTURE >> 20} MiB"


class Picture(NamedTuple):
    """A picture of an ordered source: its path for people, its class id (None if not known), and the file's bytes.

    left_out: if not empty, the reason why the picture is not used; then it has no class and no bytes. `IGNORED` is for
    a file that is no picture by its name. number: the class's place in the source's `class_names`, if it has these.
    """

    path: str
    class_id: str | None
    data: bytes
    left_out: str = ""
    number: int | None = None


class OrderedPiece(Protocol):
    """A part of an ordered source that is read from beginning to end.

    split: "train", "val" or "test". file: relative to the source's root. in_worker: True if a worker process reads the
    piece and makes one segment of it; then the piece must be picklable. False if this process reads it, and cuts it
    into segments for the workers.
    """

    @property
    def split(self) -> str: ...

    @property
    def file(self) -> str: ...

    @property
    def in_worker(self) -> bool: ...

    def read(self, root: Path, wanted: frozenset[str] | None) -> Iterator[Picture]:
        """Yield the pictures in their order. Leave out those of known classes that are not in `wanted` (None: all).

        Raises `FreelightError` if the file is damaged.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class OrderedSource:
    """A source that can only be read in order.

    labelling: applied when all pictures are known. class_names: names of the classes by number, if the files hold them.
    notes: lines for the summary.
    """

    root: Path
    layout: str
    pieces: tuple[OrderedPiece, ...]
    labelling: Labelling
    class_names: tuple[str, ...] = ()
    notes: Sequence[str] = ()

    def files(self) -> list[str]:
        """Return the files of all pieces, sorted."""
        return sorted({piece.file for piece in self.pieces})


def is_wanted(class_id: str | None, wanted: frozenset[str] | None) -> bool:
    """Tell whether pictures of a class are read: those of unknown class (None) always are."""
    return wanted is None or class_id is None or class_id in wanted


@dataclass(frozen=True)
class TarGzPiece:
    """A tar.gz of pictures, or of class tars that hold pictures.

    class_of: returns the class id of a member by its path within the archive, None if it has none.
    """

    split: str
    file: str
    class_of: Callable[[str], str | None]
    in_worker = False

    def read(self, root: Path, wanted: frozenset[str] | None) -> Iterator[Picture]:
        """Yield the pictures in the order of the archive, without decompressing it twice.

        The walk reads what follows the end mark too, so that gzip verifies its checksum.
        """
        path = root / self.file
        with open_regular(path, remedy="fetch it again") as file, gzip.open(file) as stream:
            try:
                yield from self._read_members(ForwardReader(stream, path), path, wanted)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise FreelightError(f"{path} is damaged or cut short ({error}); fetch it again") from error

    def _read_members(self, stream: "ForwardReader", path: Path, wanted: frozenset[str] | None) -> Iterator[Picture]:
        for name, member in _walk_nested(stream, path):
            if ignored_member(name):
                yield Picture(f"{self.file}/{name}", None, b"", IGNORED)
                continue
            class_id = self.class_of(name)
            if not is_wanted(class_id, wanted):
                continue
            if member.bytes > MAX_PICTURE:
                yield Picture(f"{self.file}/{name}", None, b"", f"has {member.bytes} bytes; {_MOST}")
            else:
                data = stream.read_at(member.offset, member.bytes)
                if len(data) < member.bytes:
                    raise EOFError(f"within {name}")
                yield Picture(f"{self.file}/{name}", class_id, data)


def _walk_nested(stream: "ForwardReader", path: Path) -> Iterator[tuple[str, Member]]:
    """Yield the files of a tar, and of the tars within it, with their paths."""
    for member in walk_tar(stream.read_at, path):
        if not member.name.endswith(".tar") or ignored_member(member.name):
            yield member.name, member
            continue
        for inner in walk_tar(stream.read_at, path / member.name, member.offset, member.offset + member.bytes):
            yield f"{member.name}/{inner.name}", inner


class ForwardReader:
    """Read a stream at growing offsets, at most to the offset `limit`. where: name of the stream for errors."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, where: object, *, limit: float = math.inf) -> None:
        self._stream = stream
        self._where = where
        self._limit = limit
        self._position = 0

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes at `offset`, or fewer at the end of the stream. Raises `FreelightError` past the limit."""
        if max(offset, self._position) > self._limit or length > self._limit:
            raise FreelightError(f"{self._where} has more than {self._limit:.0f} bytes when unpacked; fetch it again")
        while self._position < offset:
            skipped = len(self._stream.read(min(offset - self._position, CHUNK)))
            if not skipped:
                return b""
            self._position += skipped
        data = self._stream.read(length)
        self._position += len(data)
        return data
