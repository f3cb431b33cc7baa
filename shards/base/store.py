"""Files behind a URL, through fsspec: short waits, a few tries that are said, and errors of any type in one line."""

import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from .errors import FreelightError, UnavailableError

T = TypeVar("T")
StorageOptions = Mapping[str, Any] | None
"""Arguments of one of fsspec's file systems, such as `{"endpoint_url": "https://..."}` for S3."""

PAUSES = (1.0, 4.0, 10.0)
"""Seconds before the second, third and fourth try."""
LONGEST_PAUSE = 30.0
"""Maximum seconds between two tries, where these have a time limit in place of a number."""
CONNECT, READ = 5, 15
"""Seconds to wait for a connection, and for the next bytes, on S3 and HTTP. The configuration of fsspec goes before."""


class _StoreError(Exception):
    """An error that a file system of fsspec raised; it is the cause of this one."""


@contextmanager
def asking_store() -> Iterator[None]:
    """Mark the errors of calls to fsspec, so that `retry` can tell them from errors of this machine."""
    try:
        yield
    except Exception as error:  # fsspec's file systems raise errors of any type
        raise _StoreError from error


def open_store(url: str, options: StorageOptions = None) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it. options: of the file system, before those of fsspec's own
    configuration.
    """
    import fsspec  # here, because folders do not need it and it takes long to import

    protocol = url.partition("://")[0]
    chosen = fsspec.config.conf.get(protocol, {})
    given = dict(options or {})
    if protocol in ("s3", "s3a"):
        limits = {"connect_timeout": CONNECT, "read_timeout": READ, "retries": {"total_max_attempts": 1}}
        given["config_kwargs"] = {**limits, **chosen.get("config_kwargs", {}), **given.get("config_kwargs", {})}
    elif protocol in ("http", "https"):
        from aiohttp import ClientTimeout  # what fsspec reads HTTP with

        limits = {"timeout": ClientTimeout(total=None, sock_connect=CONNECT, sock_read=READ)}
        given["client_kwargs"] = {**limits, **chosen.get("client_kwargs", {}), **given.get("client_kwargs", {})}
    files, root = fsspec.core.url_to_fs(url, **given)
    if protocol in ("s3", "s3a"):
        files.retries = 1  # s3fs would try again in silence
    return files, str(root).rstrip("/")


def open_forward(files: Any, path: str) -> Any:
    """Open a file of a store to be read once, from its beginning; a read may return fewer bytes than asked for.

    So an HTTP server need not serve parts of files.
    """
    return files.open(path, "rb", **({"block_size": 0} if "http" in files.protocol else {}))


def ask_store(
    url: str,
    work: Callable[[Any, str], T],
    what: str,
    *,
    missing: str,
    options: StorageOptions = None,
    stop: threading.Event | None = None,
) -> T:
    """Return `work(file system, path)`, tried again after errors; see `retry`. All of its errors count as the store's.

    what: begins the message of an error: "s3://... cannot be written". missing: message for a missing file.
    options: as of `open_store`. stop: as of `retry`.
    """

    def ask() -> T:
        with asking_store():
            return work(*open_store(url, options))

    return retry(ask, what, missing=missing, stop=stop)


def retry(
    work: Callable[[], T],
    what: str,
    *,
    missing: str,
    seconds: float | None = None,
    stop: threading.Event | None = None,
) -> T:
    """Return `work()`. Log an error that `asking_store` marked, and try again.

    Without `seconds` there are four tries, with pauses of 15 s in all. So long takes a server that refuses connections;
    one that accepts them but never answers takes 75 s. seconds: try for this long instead, with random pauses of about
    1, 2, 4 s, up to `LONGEST_PAUSE`. stop: an event that ends the pauses; the last error is then raised.
    Raises `UnavailableError` after the last try, `FreelightError` at once if trying again cannot help.
    """
    begin = time.monotonic()
    stop = stop or threading.Event()
    for number in itertools.count(1):
        try:
            return work()
        except _StoreError as failed:
            error = _root(failed)
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            if isinstance(error, FileNotFoundError):
                raise FreelightError(missing) from None
            if isinstance(error, ImportError | ValueError):  # the URL, or a library that is not installed
                raise FreelightError(f"{what} ({reason})") from None
            # The libraries have no common type for credentials that are missing or wrong.
            if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
                raise UnavailableError(f"{what} ({reason}); check the credentials and their rights") from None
            passed = time.monotonic() - begin
            pause = _pause(number, passed, seconds)
            if pause is None or stop.is_set():
                raise UnavailableError(
                    f"{what}, after {number} tries in {passed:.0f} s ({reason}); check the server and its address, "
                    "then run the same command again"
                ) from error
            logging.getLogger(__name__).warning("%s (%s); try %d follows in %.0f s", what, reason, number + 1, pause)
            stop.wait(pause)
    raise AssertionError("the last try returns or raises")


def _pause(tries: int, passed: float, seconds: float | None) -> float | None:
    """Return the seconds before another try; None if there is none. Random, so that ranks do not ask all at once."""
    if seconds is None:
        return PAUSES[tries - 1] if tries <= len(PAUSES) else None
    if passed >= seconds:
        return None
    return min(min(2.0 ** min(tries - 1, 10), LONGEST_PAUSE) * random.uniform(0.5, 1), seconds - passed)


def _root(failed: _StoreError) -> BaseException | None:
    """Return what a store raised. fsspec takes any failure of HTTP for a missing file; its cause is what happened."""
    error = failed.__cause__
    cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
    of_http = type(cause).__module__.partition(".")[0] == "aiohttp" or type(cause) is TimeoutError
    return cause if of_http and getattr(cause, "status", None) != 404 else error
