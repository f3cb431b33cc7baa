"""A tar read once, from beginning to end, for its members and its sha256: from a file, or from a store."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..base import FreelightError, as_file_name, asking_store, open_forward, open_regular, open_store

CHUNK = 4 << 20
"""Bytes that are read at a time."""


class TarStream:
    """The bytes that `read(count)` returns one after the other. `bytes` and `sha256` are of all that was read."""

    def __init__(self, read: Callable[[int], bytes], end: int | None) -> None:
        self._read = read
        self._window = b""
        self.end = end
        self.bytes = 0
        self.sha256 = hashlib.sha256()

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes at `offset`, which must never decrease, or fewer at the end."""
        end = offset + length
        start = self.bytes - len(self._window)
        if self.bytes < end:
            parts = [self._window[max(0, offset - start) :]]
            while self.bytes < end and (chunk := self._read(CHUNK)):
                if self.bytes <= offset:  # all that was read lies before it
                    parts.clear()
                self.sha256.update(chunk)
                self.bytes += len(chunk)
                parts.append(chunk)
            self._window = b"".join(parts)
            start = self.bytes - len(self._window)
        return self._window[offset - start : end - start] if offset >= start else b""


@contextmanager
def open_stream(tar: str, base: str | None) -> Iterator[TarStream]:
    """Open the file `tar`, or the tar of that name in the folder `base` of a store.

    What a store raises is marked for `retry`.
    """
    if base is None:
        with open_regular(Path(as_file_name(tar)), remedy="fetch it again") as file:
            yield TarStream(file.read, os.fstat(file.fileno()).st_size)
        return
    with asking_store():
        files, root = open_store(base)
        source = open_forward(files, f"{root}/{tar}")

    def read(count: int) -> bytes:
        with asking_store():
            data: bytes = source.read(count)
            return data

    with source:
        yield TarStream(read, None)


def check_name(tar: str) -> str:
    """Return the file name of a tar. Raises `FreelightError` if no line of text can hold it."""
    name = tar.rpartition("/")[2]
    if "\n" in name:
        raise FreelightError(f"`splits`: the file name {name!r} holds a line break; rename it")
    return name
