"""Copy a file from behind a URL to this machine, and compare its hash."""

import hashlib
from pathlib import Path

from .atomic import atomic_write
from .errors import FreelightError
from .store import StorageOptions, asking_store, open_forward, open_store, retry

CHUNK = 1 << 20


class _DamagedError(Exception):
    """A file that was fetched has another hash than it should."""


def fetch_file(
    url: str, name: str, path: Path, *, sha256: str | None, limit: int, remedy: str, options: StorageOptions = None
) -> None:
    """Copy the file `name` below `url` to `path`, atomically; if its hash differs, once more.

    It may have been damaged on the way. sha256: that it must have; None accepts any. limit: bytes after which it is not
    the file that it should be. remedy: for a file that is missing or another one. options: as of `open_store`.

    Raises `FreelightError` for these, `UnavailableError` if the store fails, and errors of the local disk as they are.
    """
    for last in (False, True):
        try:
            retry(lambda: _copy(url, name, path, sha256, limit, options), **texts_of(url, name, remedy))
            return
        except _DamagedError:
            if last:
                fault = "is not what the manifest says (sha256 differs)"
                raise FreelightError(f"{url}/{name} {fault}; {remedy}") from None


def texts_of(url: str, name: str, remedy: str) -> dict[str, str]:
    """Return the texts of errors of reading a file below `url`, as `retry` takes them."""
    return {"what": f"{url}/{name} cannot be read", "missing": f"{url}/{name} is missing; {remedy}"}


def _copy(url: str, name: str, path: Path, sha256: str | None, limit: int, options: StorageOptions) -> None:
    digest = hashlib.sha256()
    with asking_store():
        files, root = open_store(url, options)
        source = open_forward(files, f"{root}/{name}")
    with source, atomic_write(path) as file:
        chunk = b"more"
        while chunk:
            with asking_store():
                chunk = source.read(CHUNK)
            digest.update(chunk)
            file.write(chunk)
            if file.tell() > limit:  # a server may send without end
                raise _DamagedError
        if sha256 not in (None, digest.hexdigest()):
            raise _DamagedError
