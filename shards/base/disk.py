"""Say which file and which disk an error of writing belongs to: a full disk, a quota, a size limit, a read-only one."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REMEDIES = {
    errno.ENOENT: "correct the path",
    errno.EACCES: "change its owner or mode (see ls -ld), or run as another user",
    errno.EPERM: "change its owner or mode (see ls -ld), or run as another user",
    errno.EIO: "check the disk",
    errno.EMFILE: "raise the limit of open files (see ulimit -n)",
}
"""What helps against errors that are no refusal to write."""
REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""The errors of a disk that refuses to write. Only writing raises them."""


@contextmanager
def naming_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file `path` in an error of a disk that refuses to write it: `write` itself names no file."""
    try:
        yield
    except OSError as error:
        if error.errno in REFUSED:
            error.filename = os.fspath(path)
        raise


def describe_os_error(error: OSError) -> str:
    """Return the error in one line; if a disk refuses to write, with the file, the disk and the remedy."""
    if error.errno in (errno.ENOTDIR, errno.EEXIST) and (file := _file_within(error.filename)):
        return f"{file} is a file, but a folder is needed there; name another path"
    if error.errno == errno.ELOOP:
        return f"{error.filename} is a symbolic link, or leads through a loop of them; remove it"
    if error.errno not in REFUSED:
        if error.filename is None or error.errno not in _REMEDIES:
            return str(error)
        named = error.filename if error.filename2 is None else f"{error.filename} -> {error.filename2}"
        return f"{named}: {error.strerror}; {_REMEDIES[error.errno]}"
    if error.filename is None:  # of a stream: writers of files name them
        return (
            f"standard output cannot be written ({error.strerror}); make space for it, then run the same command again"
        )
    disk = Path(error.filename).resolve()
    while not disk.is_mount():
        disk = disk.parent
    reason, remedy = {
        errno.ENOSPC: (f"the disk mounted at {disk} has too little space ({_free(disk)})", "free some space"),
        errno.EDQUOT: (f"your quota on the disk mounted at {disk} is used up", "delete files there or ask for more"),
        errno.EFBIG: (f"the size limit of a file on {disk} is reached", "raise it (see `ulimit -f`)"),
        errno.EROFS: (f"the disk mounted at {disk} is read-only", "make it writable or choose another folder"),
    }[error.errno]
    return f"{error.filename} cannot be written: {reason}; {remedy}, then run the same command again"


def _file_within(path: object) -> Path | None:
    """Return the file of which `path` treats the name as that of a folder."""
    paths = (Path(path), *Path(path).parents) if isinstance(path, str) else ()
    return next((place for place in paths if place.is_file()), None)


def _free(disk: Path) -> str:
    status = os.statvfs(disk)
    files = ", and no more files can be made" if status.f_files and not status.f_favail else ""
    return f"{status.f_bavail * status.f_frsize:,} bytes free{files}"
