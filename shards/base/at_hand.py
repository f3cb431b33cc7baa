"""Note which picture a process has at hand, so that it can be named if its decoder kills the process."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FreelightError
from .executor import LostWorkerError

_SUFFIX = ".at-hand"


@contextmanager
def noting_pictures(path: Path) -> Iterator[Callable[[str], None]]:
    """Yield a function that notes the name of the picture at hand, in a file beside `path` with a suffix of its own.

    The note is deleted at the end. It stays only if the process dies.
    """
    path = path.with_suffix(_SUFFIX)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    try:
        yield lambda name: _write(descriptor, name)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


@contextmanager
def naming_pictures(folder: Path) -> Iterator[None]:
    """Turn the loss of a worker process into an error that names the pictures in its notes, which lie in `folder`."""
    for stale in folder.glob(f"*{_SUFFIX}"):
        stale.unlink(missing_ok=True)
    try:
        yield
    except LostWorkerError as error:
        names = sorted(path.read_bytes().partition(b"\n")[0] for path in folder.glob(f"*{_SUFFIX}"))
        at_hand = ", ".join(ascii(os.fsdecode(name)) for name in names if name)
        if not at_hand:
            raise
        raise FreelightError(
            f"{error}; the workers had these images at hand: {at_hand}; if it happens again, remove the one at fault"
        ) from error


def _write(descriptor: int, name: str) -> None:
    os.pwrite(descriptor, name.encode(errors="surrogateescape") + b"\n", 0)
