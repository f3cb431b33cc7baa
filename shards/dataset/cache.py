"""Datasets behind a URL: shards are staged into a bounded local cache ahead of their use, each verified by its hash."""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import fsspec

from ..base.atomic import atomic_write
from ..base.errors import FreelightError

CHUNK = 1 << 20
RETRY_SECONDS = (0.5, 1.0, 2.0)

T = TypeVar("T")


class ShardCache:
    """Files of `url` (anything that fsspec reads) in `folder`, which all processes of a machine may share.

    limit: bytes of shards to keep, beside those on their way; those used longest ago go first. manifest: the file that
    tells one dataset from another. optional: files to take along if they are there, fetched anew each time since they
    may change.
    """

    def __init__(self, url: str, folder: Path, limit: int, *, manifest: str, optional: Sequence[str] = ()) -> None:
        self.url = url.rstrip("/")
        self.limit = limit
        self._stagers: ThreadPoolExecutor | None = None
        # One cache folder serves many datasets, and a dataset made anew is another: each has a folder below it.
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        content = self._read(manifest)
        self.folder = folder / hashlib.sha256(self.url.encode() + content).hexdigest()[:16]
        self.folder.mkdir(exist_ok=True)
        self.fetch(manifest)
        for name in optional:
            with contextlib.suppress(FreelightError):
                self.fetch(name, fresh=True)

    def fetch(self, name: str, *, sha256: str | None = None, fresh: bool = False) -> Path:
        """Return the local copy of a file, made now if there is none, or if a `fresh` one is wanted.

        Raises `FreelightError` when it cannot be had after retries, or is not what the manifest says (`sha256`).
        """
        path = self.folder / name
        with self._lock(name):
            if fresh or not path.exists():
                self._retry(lambda: self._download(name, path, sha256), name)
            with contextlib.suppress(FileNotFoundError):  # another process has made room
                os.utime(path)
        return path

    def open_shard(self, name: str, size: int, sha256: str) -> int:
        """Return a file descriptor of the local copy of a shard of `size` bytes, for which room is made first."""
        while True:
            self._fetch_shard(name, size, sha256)
            with contextlib.suppress(FileNotFoundError):  # another process has made room since
                return os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC)

    def stage(self, name: str, size: int, sha256: str) -> None:
        """Begin to fetch a shard in the background; whoever needs it waits, or sees the error then."""
        if (self.folder / name).exists():
            return
        if self._stagers is None:
            self._stagers = ThreadPoolExecutor(2, thread_name_prefix="freelight-stage")
        self._stagers.submit(self._fetch_shard, name, size, sha256)

    def close(self) -> None:
        """End the background fetches."""
        if self._stagers is not None:
            self._stagers.shutdown(cancel_futures=True)
            self._stagers = None

    def _fetch_shard(self, name: str, size: int, sha256: str) -> None:
        if not (self.folder / name).exists():
            self._make_room(size)
        self.fetch(name, sha256=sha256)

    def _read(self, name: str) -> bytes:
        def read() -> bytes:
            with fsspec.open(f"{self.url}/{name}", "rb") as source:
                content: bytes = source.read()
                return content

        return self._retry(read, name)

    def _download(self, name: str, path: Path, sha256: str | None) -> None:
        digest = hashlib.sha256()
        with fsspec.open(f"{self.url}/{name}", "rb") as source, atomic_write(path) as file:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                file.write(chunk)
            if sha256 is not None and digest.hexdigest() != sha256:
                raise FreelightError(
                    f"{self.url}/{name} is not what the manifest says (sha256 differs); copy the dataset there again"
                )

    def _retry(self, work: Callable[[], T], name: str) -> T:
        for pause in (*RETRY_SECONDS, None):
            try:
                return work()
            except FreelightError:
                raise
            except FileNotFoundError:
                raise FreelightError(f"{self.url}/{name} is missing; copy the dataset there again") from None
            except Exception as error:  # every filesystem has errors of its own
                if pause is None:
                    raise FreelightError(
                        f"{self.url}/{name} cannot be read, after {len(RETRY_SECONDS) + 1} tries ({error}); "
                        "check the server and go on from the last checkpoint"
                    ) from error
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _make_room(self, size: int) -> None:
        """Delete the shards used longest ago until `size` more bytes fit. Files still open stay readable."""
        if size > self.limit:
            raise FreelightError(f"a shard of {size} bytes does not fit a cache of {self.limit}; give it more")
        with self._lock("room"):
            shards = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self.folder.glob("*.tar"))
            held = sum(length for _, length, _ in shards)
            for _, length, path in shards:
                if held + size <= self.limit:
                    break
                path.unlink(missing_ok=True)
                held -= length

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Let one process or thread at a time fetch a file."""
        with open(self.folder / f".{name}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
