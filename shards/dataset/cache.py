"""A bounded local cache for the shards of a remote dataset: prefetched, and verified by their hashes."""

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..base import (
    MAX_JSON,
    FreelightError,
    StorageOptions,
    UnavailableError,
    ask_store,
    atomic_write,
    describe_os_error,
    fetch_file,
    hash_file,
    texts_of,
)

MAX_FILE = 1 << 32
"""Maximum bytes of a file that is no shard: tables, lists of sources, statistics."""


class ShardCache:
    """Local copies of the files at `url` (any that fsspec reads), in `folder`, which a machine's processes may share.

    limit: maximum bytes of shards to keep, not counting downloads in progress; the least recently used are deleted
    first. manifest: the file there whose content identifies the dataset; without one, `identity` does. optional: files
    to fetch if they exist; they may change, so they are fetched again every time. options: as of `open_store`.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        limit: int,
        *,
        manifest: str | None = None,
        identity: bytes = b"",
        optional: Sequence[str] = (),
        options: StorageOptions = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.limit = limit
        self.options = options
        self._remedy = "copy the dataset there again" if manifest else "put it back there, or index the tars again"
        self._store: Any = {"remedy": self._remedy, "options": options}
        self._prefetchers: ThreadPoolExecutor | None = None
        self._prefetches: dict[str, Future[None]] = {}
        # Each dataset has its own folder below `folder`; a dataset that was made again gets a new one.
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        content = self._read_manifest(manifest) if manifest else identity
        self.folder = folder / hashlib.sha256(self.url.encode() + content).hexdigest()[:16]
        self.folder.mkdir(exist_ok=True)
        if manifest:
            with self._lock(manifest), atomic_write(self.folder / manifest) as file:
                file.write(content)
        for name in optional:
            with contextlib.suppress(FreelightError):
                self.fetch(name, fresh=True)

    def fetch(self, name: str, *, sha256: str | None = None, fresh: bool = False) -> None:
        """Download a file, unless there is a local copy with this hash. fresh: download it in any case.

        Raises `FreelightError` if it is missing or its hash is not `sha256`, `UnavailableError` if it cannot be read.
        """
        path = self.folder / name
        with self._lock(name):
            if fresh or not path.exists() or (sha256 is not None and self._is_damaged(path, sha256)):
                fetch_file(self.url, name, path, sha256=sha256, limit=MAX_FILE, **self._store)

    def open_shard(self, name: str, size: int, sha256: str) -> int:
        """Make room for a shard of `size` bytes, fetch it, and return a file descriptor of the local copy.

        Raises `UnavailableError` if the store or the local disk fails.
        """
        prefetch = self._prefetches.pop(name, None)
        try:
            if prefetch is not None:
                prefetch.result()
            while True:
                self._fetch_shard(name, size, sha256)
                with contextlib.suppress(FileNotFoundError):  # another process deleted it to make room
                    return os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except (FreelightError, OSError) as error:
            self._prefetches.clear()  # a later call tries again
            if isinstance(error, FreelightError):
                raise
            raise UnavailableError(f"the cache of {self.url}: {describe_os_error(error)}") from error

    def drop_if_damaged(self, name: str, sha256: str) -> None:
        """Delete the local copy of a shard if its hash is not `sha256`; `open_shard` then fetches it again."""
        path = self.folder / name
        with self._lock(name), contextlib.suppress(FileNotFoundError):
            if self._is_damaged(path, sha256):
                path.unlink()

    def prefetch(self, name: str, size: int, sha256: str) -> None:
        """Fetch a shard in the background. `open_shard` waits for it, and raises the error if there was one."""
        if (self.folder / name).exists() or name in self._prefetches:
            return
        if self._prefetchers is None:
            self._prefetchers = ThreadPoolExecutor(2, thread_name_prefix="freelight-prefetch")
        self._prefetches[name] = self._prefetchers.submit(self._fetch_shard, name, size, sha256)

    def close(self) -> None:
        """End the background fetches."""
        if self._prefetchers is not None:
            self._prefetchers.shutdown(cancel_futures=True)
            self._prefetchers = None
            self._prefetches.clear()

    def _fetch_shard(self, name: str, size: int, sha256: str) -> None:
        path = self.folder / name
        if not path.exists():
            self._make_room(size)
        with self._lock(name):
            if not path.exists():
                fetch_file(self.url, name, path, sha256=sha256, limit=size, **self._store)
            with contextlib.suppress(FileNotFoundError):  # another process deleted it to make room
                os.utime(path)

    def _read_manifest(self, name: str) -> bytes:
        def read(files: Any, root: str) -> bytes:
            with files.open(f"{root}/{name}", "rb") as source:
                content: bytes = source.read(MAX_JSON + 1)
                return content

        texts = texts_of(self.url, name, self._remedy)
        texts["missing"] = (
            f"{self.url} is not a finished dataset (no {name}); make it with: "
            f"freelight make-shards --images IMAGES --out {self.url}"
        )
        content = ask_store(self.url, read, options=self.options, **texts)
        if len(content) > MAX_JSON:
            raise FreelightError(
                f"{self.url}/{name} has more than {MAX_JSON} bytes, the limit of such a file; "
                "copy the dataset there again"
            )
        return content

    def _is_damaged(self, path: Path, sha256: str) -> bool:
        """Tell whether a local copy has another hash, and say so."""
        damaged = hash_file(path) != sha256
        if damaged:
            logging.getLogger(__name__).warning("%s is damaged; it is fetched again from %s", path, self.url)
        return damaged

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
        # A link would create, or empty, a file elsewhere.
        lock = os.open(self.folder / f".{name}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
