"""Copy files from behind a URL in parts, over several connections at once."""

import asyncio
import concurrent.futures
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .disk import naming_file
from .errors import FreelightError
from .fetching import PART, DamagedError, FetchStoppedError, describe_damage, fetch_file, texts_of
from .hashing import hash_file
from .store import StorageOptions, asking_store, open_store, retry

LOOK = 0.2
"""Seconds between two looks whether to stop."""


class PartFetcher:
    """Copies files below `url`, with at most `connections` requests at once.

    remedy: for a file that is missing or another one. options: as of `open_store`. seconds: after which a part that
    does not come is given up; all tries are counted together.
    """

    def __init__(self, url: str, *, connections: int, remedy: str, options: StorageOptions, seconds: float) -> None:
        self._url = url
        self._remedy = remedy
        self._options = options
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="freelight-part")
        self._stop = threading.Event()

    def close(self) -> None:
        """End all copies, with `FetchStoppedError`."""
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def fetch(self, name: str, path: Path, *, size: int, sha256: str) -> None:
        """Write the file `name` of `size` bytes to `path`; if it is damaged, once more.

        Other than by `fetch_file`, `path` grows in place, and is not fsynced: what a power cut leaves may be damaged.
        Raises what `fetch_file` raises, and `FetchStoppedError`.
        """
        if self._url.partition("://")[0] in ("http", "https"):  # such a server may send the whole file for each part
            limits: dict[str, Any] = {"seconds": self._seconds, "stop": self._stop}
            fetch_file(
                self._url, name, path, sha256=sha256, limit=size, remedy=self._remedy, options=self._options, **limits
            )
            return
        with naming_file(path):
            if not (self._copy(name, path, size, sha256) or self._copy(name, path, size, sha256)):
                raise FreelightError(describe_damage(self._url, name, self._remedy))

    def _copy(self, name: str, path: Path, size: int, sha256: str) -> bool:
        """Write all parts of a file, and return whether its hash is right."""
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        parts: list[Future[None]] = []
        try:
            os.ftruncate(descriptor, size)
            for first in range(0, size, PART):
                parts.append(self._pool.submit(self._copy_part, name, descriptor, first, min(first + PART, size)))
            for part in parts:
                part.result()
        except DamagedError:
            return False
        except (RuntimeError, concurrent.futures.CancelledError):
            if not self._stop.is_set():
                raise
            raise FetchStoppedError from None  # the pool is closed
        finally:
            for part in parts:
                part.cancel()
            concurrent.futures.wait(parts)
            os.close(descriptor)
        return hash_file(path) == sha256

    def _copy_part(self, name: str, descriptor: int, first: int, end: int) -> None:
        deadline = time.monotonic() + self._seconds

        def ask() -> bytes:
            if self._stop.is_set():
                raise FetchStoppedError
            with asking_store():
                files, root = open_store(self._url, self._options)
                return self._read(files, f"{root}/{name}", first, end, deadline)

        content = retry(ask, seconds=self._seconds, stop=self._stop, **texts_of(self._url, name, self._remedy))
        if len(content) != end - first:
            raise DamagedError
        os.pwrite(descriptor, content, first)

    def _read(self, files: Any, path: str, first: int, end: int, deadline: float) -> bytes:
        """Return bytes of a file. Raises `TimeoutError` at the deadline, or when the copies are to end."""
        content: bytes
        if not files.async_impl:
            content = files.cat_file(path, start=first, end=end)
            return content
        coming = asyncio.run_coroutine_threadsafe(files._cat_file(path, start=first, end=end), files.loop)
        while not coming.done():
            concurrent.futures.wait([coming], LOOK)
            if self._stop.is_set() or time.monotonic() > deadline:
                coming.cancel()
                raise TimeoutError(f"it did not come in {self._seconds:.0f} s")
        content = coming.result()
        return content
