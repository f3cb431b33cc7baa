"""Copy a file from behind a URL to this machine, and compare its hash."""

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

from .atomic import atomic_write
from .errors import FreelightError
from .store import StorageOptions, asking_store, open_forward, open_store, retry

CHUNK = 1 << 20
PART = 8 << 20
"""Bytes that must come within a time limit."""
FETCH_TIMEOUT = 300.0
"""Seconds for a part of a shard, if nothing else is said."""


class DamagedError(Exception):
    """A file that was fetched is another one than it should be."""


class FetchStoppedError(Exception):
    """A copy was stopped on request."""


def fetch_file(
    url: str,
    name: str,
    path: Path,
    *,
    sha256: str | None,
    limit: int,
    remedy: str,
    options: StorageOptions = None,
    seconds: float | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Copy the file `name` below `url` to `path`, atomically; if its hash differs, once more.

    It may have been damaged on the way. sha256: that it must have; None accepts any. limit: bytes after which it is not
    the file that it should be. remedy: for a file that is missing or another one. options: as of `open_store`.
    seconds, stop: as of `retry`; each `PART` of the file must also come within `seconds`, and the copy ends when `stop`
    is set.

    Raises `FreelightError` for these, `UnavailableError` if the store fails, errors of the local disk as they are, and
    `FetchStoppedError`.
    """
    for last in (False, True):
        try:
            retry(
                lambda: _copy(url, name, path, sha256, limit, options, seconds, stop),
                seconds=seconds,
                stop=stop,
                **texts_of(url, name, remedy),
            )
            return
        except DamagedError:
            if last:
                raise FreelightError(describe_damage(url, name, remedy)) from None


def texts_of(url: str, name: str, remedy: str) -> dict[str, Any]:
    """Return the texts of errors of reading a file below `url`, as `retry` takes them."""
    return {"what": f"{url}/{name} cannot be read", "missing": f"{url}/{name} is missing; {remedy}"}


def describe_damage(url: str, name: str, remedy: str) -> str:
    """Say that a file below `url` has another hash than the manifest's, also when it is fetched again."""
    return f"{url}/{name} is not what the manifest says (sha256 differs); {remedy}"


def _copy(
    url: str,
    name: str,
    path: Path,
    sha256: str | None,
    limit: int,
    options: StorageOptions,
    seconds: float | None,
    stop: threading.Event | None,
) -> None:
    begin = time.monotonic()
    digest = hashlib.sha256()
    with asking_store():
        files, root = open_store(url, options)
        source = open_forward(files, f"{root}/{name}")
    with source, atomic_write(path) as file:
        chunk = b"more"
        while chunk:
            if stop is not None and stop.is_set():
                raise FetchStoppedError
            with asking_store():
                chunk = source.read(CHUNK)
                if seconds is not None and time.monotonic() - begin > seconds * (1 + file.tell() / PART):
                    raise TimeoutError(f"{file.tell()} bytes in {time.monotonic() - begin:.0f} s")
            digest.update(chunk)
            file.write(chunk)
            if file.tell() > limit:  # a server may send without end
                raise DamagedError
        if sha256 not in (None, digest.hexdigest()):
            raise DamagedError
