"""Keep a second command out of a folder that one is at work in."""

import errno
import fcntl
import os
import time
from pathlib import Path

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def lock_file(path: Path, *, patience: float = 0) -> int:
    """Return the descriptor of a file, made if need be, that is locked until the descriptor is closed.

    The kernel closes it, however the process ends. Raises `BlockingIOError` when another process has it for `patience`
    seconds. Where the file system has no locks, it is taken to be free.
    """
    deadline = time.monotonic() + patience
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError as error:
            if error.errno in NO_LOCKS:
                return descriptor
            if not isinstance(error, BlockingIOError) or time.monotonic() >= deadline:
                os.close(descriptor)
                raise
            time.sleep(0.1)
