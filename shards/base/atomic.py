"""Write a file atomically: a reader sees the whole new file, or the old one."""

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .disk import naming_file

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, sync_folder: bool = True) -> Iterator[IO[bytes]]:
    """Yield a binary file that is renamed to `path` when the block ends without an error.

    The bytes are written to `path` + a random part + ".tmp", fsynced and renamed. The folder is fsynced too, so that
    the name survives a power cut; sync_folder=False skips that, for files that a restart would notice and write again.
    After an error the temporary file is deleted and an older `path` is unchanged; the `OSError` of a full disk names
    `path`. Temporary files of a killed writer of the same `path` are deleted first; if that writer is still running,
    its rename fails.
    """
    path = Path(path)
    with naming_file(path):
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
    """Fsync a folder, so that the names of its files survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
