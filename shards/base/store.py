"""Files behind a URL, through fsspec: short waits, a few tries that are said, and errors of any type in one line."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .errors import FreelightError, UnavailableError

T = TypeVar("T")

PAUSES = (1.0, 4.0, 10.0)
"""Seconds before the second, third and fourth try."""
S3_LIMITS = {"connect_timeout": 5, "read_timeout": 15, "retries": {"total_max_attempts": 1}}
"""Seconds that one try on S3 may take. The configuration of fsspec (its "config_kwargs") goes before."""


class _StoreError(Exception):
    """An error that a file system of fsspec raised; it is the cause of this one."""


@contextmanager
def asking_store() -> Iterator[None]:
    """Mark the errors of calls to fsspec, so that `retry` can tell them from errors of this machine."""
    try:
        yield
    except Exception as error:  # fsspec's file systems raise errors of any type
        raise _StoreError from error


def open_store(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    import fsspec  # here, because folders do not need it and it takes long to import

    protocol = url.partition("://")[0]
    if protocol not in ("s3", "s3a"):
        files, root = fsspec.core.url_to_fs(url)
    else:
        chosen = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
        files, root = fsspec.core.url_to_fs(url, config_kwargs={**S3_LIMITS, **chosen})
        files.retries = 1  # s3fs would try again in silence
    return files, str(root).rstrip("/")


def ask_store(url: str, work: Callable[[Any, str], T], what: str, *, missing: str) -> T:
    """Return `work(file system, path)`, tried again after errors; see `retry`. All of its errors count as the store's.

    what: begins the message of an error: "s3://... cannot be written". missing: message for a missing file.
    """

    def ask() -> T:
        with asking_store():
            return work(*open_store(url))

    return retry(ask, what, missing=missing)


def retry(work: Callable[[], T], what: str, *, missing: str) -> T:
    """Return `work()`. Log an error that `asking_store` marked, and try again, four times in all.

    The pauses take 15 s. So does a server that refuses connections; one of S3 that accepts them but never answers takes
    75 s. Raises `UnavailableError` after the last try, `FreelightError` at once if trying again cannot help.
    """
    begin = time.monotonic()
    tries = len(PAUSES) + 1
    for number, pause in enumerate((*PAUSES, None), 1):
        try:
            return work()
        except _StoreError as failed:
            error = failed.__cause__
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            if isinstance(error, FileNotFoundError):
                raise FreelightError(missing) from None
            if isinstance(error, ImportError | ValueError):  # the URL, or a library that is not installed
                raise FreelightError(f"{what} ({reason})") from None
            # The libraries have no common type for credentials that are missing or wrong.
            if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
                raise UnavailableError(f"{what} ({reason}); check the credentials and their rights") from None
            if pause is None:
                raise UnavailableError(
                    f"{what}, after {tries} tries in {time.monotonic() - begin:.0f} s ({reason}); "
                    "check the server and its address, then run the same command again"
                ) from error
            logging.getLogger(__name__).warning(
                "%s (%s); try %d of %d follows in %.0f s", what, reason, number + 1, tries, pause
            )
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")
