"""Write a file so that it is there whole, or not at all."""

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, sync_folder: bool = True) -> Iterator[IO[bytes]]:
    """Yield a binary file that takes the name `path` when the block ends without an error.

    The bytes go to `path` + a random part + ".tmp", are fsynced and renamed; the folder is fsynced too, so that the
    name survives a power cut. After an error (disk full, say) the temporary file is gone and an older `path` is
    untouched. What a killed writer of the same `path` left is removed first; had it lived on, its own rename fails.
    sync_folder=False leaves the name to the folder's next sync, for files that a restart would miss and make again.
    """
    path = Path(path)
    for leftover in path.parent.glob(f"{glob.escape(path.name)}.*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync_folder:
        fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Have the names of a folder's files survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
