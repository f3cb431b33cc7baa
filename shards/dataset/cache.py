"""A bounded local cache for the shards of a remote dataset, which are verified by their hashes."""

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..base import (
    FETCH_TIMEOUT,
    MAX_JSON,
    FreelightError,
    PartFetcher,
    StorageOptions,
    UnavailableError,
    ask_store,
    atomic_write,
    describe_os_error,
    fetch_file,
    hash_file,
    naming_file,
    texts_of,
)
from .manifest import ShardInfo
from .needs import needs_of, victims

MAX_FILE = 1 << 32
"""Maximum bytes of a file that is no shard: tables, lists of sources, statistics."""
CONNECTIONS = 8
"""Requests to a store at once, per reader."""
PARTIAL = ".partial"


class ShardCache:
    """Local copies of the files at `url` (any that fsspec reads), in `folder`, which a machine's processes may share.

    limit: maximum bytes of shards to keep, with those in progress. manifest: the file there whose content identifies
    the dataset; without one, `identity` does. optional: files to fetch if they exist; they may change, so they are
    fetched again every time. options: as of `open_store`. fetch_timeout: seconds after which a part of a shard that
    does not come is given up; all tries are counted together.
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
        fetch_timeout: float = FETCH_TIMEOUT,
    ) -> None:
        self.url = url.rstrip("/")
        self.limit = limit
        self.options = options
        self.fetch_timeout = fetch_timeout
        self._remedy = "copy the dataset there again" if manifest else "put it back there, or index the tars again"
        self._store: Any = {"remedy": self._remedy, "options": options}
        # Each dataset has its own folder below `folder`; a dataset that was made again gets a new one.
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        content = self._read_manifest(manifest) if manifest else identity
        self.folder = folder / hashlib.sha256(self.url.encode() + content).hexdigest()[:16]
        self.folder.mkdir(exist_ok=True)
        if manifest:
            with self.lock(manifest), atomic_write(self.folder / manifest) as file:
                file.write(content)
        with ThreadPoolExecutor(max(1, len(optional))) as threads:  # each waits for the store
            list(threads.map(self._fetch_optional, optional))

    def fetch(self, name: str, *, sha256: str | None = None, fresh: bool = False) -> None:
        """Download a file, unless there is a local copy with this hash. fresh: download it in any case.

        Raises `FreelightError` if it is missing or its hash is not `sha256`, `UnavailableError` if it cannot be read.
        """
        path = self.folder / name
        with self.lock(name):
            if fresh or not path.exists() or (sha256 is not None and self._is_damaged(path, sha256)):
                fetch_file(self.url, name, path, sha256=sha256, limit=MAX_FILE, **self._store)

    def _fetch_optional(self, name: str) -> None:
        with contextlib.suppress(FreelightError):
            self.fetch(name, fresh=True)

    def has(self, shard: ShardInfo) -> bool:
        """Return whether there is a copy of a shard."""
        return (self.folder / shard.name).exists()

    def open_shard(self, shard: ShardInfo) -> int:
        """Fetch a shard, unless it is there, and return a file descriptor of the local copy.

        Raises `UnavailableError` if the store or the local disk fails.
        """
        path = self.folder / shard.name
        with self.naming_cache():
            while True:
                with contextlib.suppress(FileNotFoundError):  # another process may delete it to make room
                    os.utime(path)
                    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                with self.lock(shard.name), contextlib.closing(self.fetcher()) as fetcher:
                    if not path.exists():
                        self.make_room(shard, forced=True)
                        self.bring(shard, fetcher)

    def make_room(self, shard: ShardInfo, *, forced: bool = False) -> bool:
        """Reserve room for a shard; return whether there is. The caller holds the lock of its name, and brings it.

        What no reader needs is deleted first, the least recently used before others, then what is needed after this
        shard. forced: also what is needed before it. Files that are open stay readable.
        """
        if shard.bytes > self.limit:
            raise FreelightError(
                f"a shard of {shard.bytes} bytes is larger than `cache_bytes` (={self.limit}); allow more"
            )
        with self.lock("room"):
            self._drop_leftovers()
            held = {path.name: path.stat() for path in self.folder.glob("*.tar")}
            names = sorted(held, key=lambda name: held[name].st_mtime)
            coming = sum(path.stat().st_size for path in self.folder.glob(f"*{PARTIAL}"))
            free = self.limit - coming - sum(status.st_size for status in held.values())
            may_go = victims(needs_of(self.folder), shard.name, names)
            for name in [*may_go, *(name for name in names if forced and name not in may_go)]:
                if free >= shard.bytes:
                    break
                (self.folder / name).unlink(missing_ok=True)
                free += held[name].st_size
            if free < shard.bytes and not forced:
                return False
            partial = self._partial(shard.name)
            with naming_file(self.folder / shard.name), open(partial, "wb") as file:
                file.truncate(shard.bytes)  # its size, so that every process counts it
            return True

    def bring(self, shard: ShardInfo, fetcher: PartFetcher) -> None:
        """Fetch a shard for which room was made. The caller holds the lock of its name."""
        partial = self._partial(shard.name)
        try:
            with naming_file(self.folder / shard.name):
                fetcher.fetch(shard.name, partial, size=shard.bytes, sha256=shard.sha256)
            with self.lock("room"):
                os.replace(partial, self.folder / shard.name)
        finally:
            partial.unlink(missing_ok=True)

    def bytes_come(self, shard: ShardInfo) -> int:
        """Return how many bytes of a shard in progress are on the disk."""
        with contextlib.suppress(FileNotFoundError):
            return 512 * self._partial(shard.name).stat().st_blocks
        return 0

    def fetcher(self) -> PartFetcher:
        """Return what fetches shards; to be closed."""
        return PartFetcher(
            self.url,
            connections=CONNECTIONS,
            remedy=self._remedy,
            options=self.options,
            seconds=self.fetch_timeout,
        )

    @contextlib.contextmanager
    def naming_cache(self) -> Iterator[None]:
        """Turn an error of the local disk into one that names the cache."""
        try:
            yield
        except OSError as error:
            raise UnavailableError(f"the cache of {self.url}: {describe_os_error(error)}") from error

    def drop_if_damaged(self, shard: ShardInfo) -> None:
        """Delete the local copy of a shard if its hash is wrong; `open_shard` then fetches it again."""
        path = self.folder / shard.name
        with self.lock(shard.name), contextlib.suppress(FileNotFoundError):
            if self._is_damaged(path, shard.sha256):
                with self.lock("room"):
                    path.unlink()

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock `name`, which one thread of one process has at a time."""
        lock = self._open_lock(name)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def try_lock(self, name: str) -> int | None:
        """Return a descriptor that holds the lock `name` until it is closed; None if another has it."""
        lock = self._open_lock(name)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            os.close(lock)
            return None

    def _open_lock(self, name: str) -> int:
        # A link would create, or empty, a file elsewhere.
        return os.open(self.folder / f".{name}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    def _drop_leftovers(self) -> None:
        """Delete the downloads of processes that were killed: those whose lock is free."""
        for path in self.folder.glob(f"*{PARTIAL}"):
            lock = self.try_lock(path.name.removesuffix(PARTIAL))
            if lock is not None:
                path.unlink(missing_ok=True)
                os.close(lock)

    def _partial(self, name: str) -> Path:
        return self.folder / (name + PARTIAL)

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
