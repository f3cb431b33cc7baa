"""Read shards of a local folder ahead, in long stretches, into the kernel's cache."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STRETCH = 128 << 10
"""Bytes of a request: the kernel cuts a longer one off at what the disk takes at once."""


class StretchReader:
    """Asks the kernel for whole shards, one after the other, in a thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="freelight-stretch")
        self._is_closed = False

    def read(self, path: Path, size: int) -> None:
        """Let a shard be read ahead. Errors are left to whoever reads it."""
        self._thread.submit(self._read, path, size)

    def close(self) -> None:
        """Read ahead no more."""
        self._is_closed = True
        self._thread.shutdown(cancel_futures=True)

    def _read(self, path: Path, size: int) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            for first in range(0, size, STRETCH):
                if self._is_closed:
                    return
                os.posix_fadvise(descriptor, first, STRETCH, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)
