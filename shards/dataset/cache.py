"""A bounded local cache for the shards of a remote dataset: prefetched, and verified by their hashes."""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ..base import FreelightError, atomic_write

CHUNK = 1 << 20
RETRY_SECONDS = (0.5, 1.0, 2.0)

T = TypeVar("T")


class ShardCache:
    """Local copies of the files at `url` (any that fsspec reads), in `folder`, which a machine's processes may share.

    limit: maximum bytes of shards to keep, not counting downloads in progress; the least recently used are deleted
    first. manifest: the file whose content identifies the dataset. optional: files to fetch if they exist; they may
    change, so they are fetched again every time.
    """

    def __init__(self, url: str, folder: Path, limit: int, *, manifest: str, optional: Sequence[str] = ()) -> None:
        self.url = url.rstrip("/")
        self.limit = limit
        self._prefetchers: ThreadPoolExecutor | None = None
        # Each dataset has its own folder below `folder`; a dataset that was made again gets a new one.
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
        """Return the path of a file's local copy. Download it if there is none, or if `fresh`.

        Raises `FreelightError` if it cannot be read after retries, or if its hash is not `sha256`.
        """
        path = self.folder / name
        with self._lock(name):
            if fresh or not path.exists():
                self._retry(lambda: self._download(name, path, sha256), name)
            with contextlib.suppress(FileNotFoundError):  # another process deleted it to make room
                os.utime(path)
        return path

    def open_shard(self, name: str, size: int, sha256: str) -> int:
        """Make room for a shard of `size` bytes, fetch it, and return a file descriptor of the local copy."""
        while True:
            self._fetch_shard(name, size, sha256)
            with contextlib.suppress(FileNotFoundError):  # another process deleted it to make room
                return os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC)

    def prefetch(self, name: str, size: int, sha256: str) -> None:
        """Fetch a shard in the background. `open_shard` waits for it, and raises the error if there was one."""
        if (self.folder / name).exists():
            return
        if self._prefetchers is None:
            self._prefetchers = ThreadPoolExecutor(2, thread_name_prefix="freelight-prefetch")
        self._prefetchers.submit(self._fetch_shard, name, size, sha256)

    def close(self) -> None:
        """End the background fetches."""
        if self._prefetchers is not None:
            self._prefetchers.shutdown(cancel_futures=True)
            self._prefetchers = None

    def _fetch_shard(self, name: str, size: int, sha256: str) -> None:
        if not (self.folder / name).exists():
            self._make_room(size)
        self.fetch(name, sha256=sha256)

    def _read(self, name: str) -> bytes:
        import fsspec  # here, because local datasets do not need it and it takes long to import

        def read() -> bytes:
            with fsspec.open(f"{self.url}/{name}", "rb") as source:
                content: bytes = source.read()
                return content

        return self._retry(read, name)

    def _download(self, name: str, path: Path, sha256: str | None) -> None:
        import fsspec

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
            except Exception as error:  # fsspec's file systems raise errors of any type
                if pause is None:
                    raise FreelightError(
                        f"{self.url}/{name} cannot be read, after {len(RETRY_SECONDS) + 1} tries ({error}); "
                        "check the server, then resume from the last checkpoint"
                    ) from error
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _make_room(self, size: int) -> None:
        """Delete the least recently used shards until `size` more bytes fit. Files that are open stay readable."""
        if size > self.limit:
            raise FreelightError(f"a shard of {size} bytes is larger than `cache_bytes` (={self.limit}); allow more")
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
        """Hold the lock `name`, which one thread of one process has at a time."""
        with open(self.folder / f".{name}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
