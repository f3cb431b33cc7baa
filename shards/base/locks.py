"""Lock a file, so that only one process writes to a folder at a time."""

import errno
import fcntl
import os
import time
from pathlib import Path

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def lock_file(path: Path, *, patience: float = 0) -> int:
    """Lock the file `path`, created if it is missing; return its descriptor. Closing the descriptor unlocks it.

    Raises `OSError` if `path` is a symbolic link: it would create a file elsewhere.

    The kernel closes it when the process ends, however it ends. patience: seconds to wait for another process that
    holds the lock; then raises `BlockingIOError`. On a file system without locks the lock always succeeds.
    """
    deadline = time.monotonic() + patience
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
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
