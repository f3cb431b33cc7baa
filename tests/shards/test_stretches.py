"""Whole shards of a local folder are read ahead into the kernel's cache."""

import os
import time
from pathlib import Path

import pytest

from freelight.shards.dataset.stretches import StretchReader

SIZE = 3_000_001


def cached_bytes(path: Path) -> int:
    """Return how many bytes of a file can be read without its disk."""
    found = 0
    with path.open("rb") as file:
        for first in range(0, SIZE, 4096):
            try:
                found += os.preadv(file.fileno(), [bytearray(4096)], first, os.RWF_NOWAIT)
            except BlockingIOError:
                continue
    return found


def test_a_shard_is_read_ahead_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    path.write_bytes(os.urandom(SIZE))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if cached_bytes(path) > SIZE // 2:
            pytest.skip("this file system keeps its files in memory")
    except OSError as error:
        pytest.skip(f"this file system does not tell what memory holds: {error}")
    finally:
        os.close(descriptor)
    reader = StretchReader()
    reader.read(path, SIZE)
    reader.read(tmp_path / "missing.tar", SIZE)  # left to whoever reads it
    deadline = time.monotonic() + 10
    while cached_bytes(path) < SIZE and time.monotonic() < deadline:
        time.sleep(0.01)
    reader.close()
    assert cached_bytes(path) == SIZE
