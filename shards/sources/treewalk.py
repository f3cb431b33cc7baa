"""List the picture files of a folder tree. Links are followed; only regular files are listed, each once per call."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..base import FreelightError, as_text
from .ignoring import ignored_file, ignored_folder
from .listing import UNLABELLED, LeftOut, Listing, SourceImage

Identity = tuple[int, int]
"""Device and inode of a folder. A folder that is reached twice, through a link, has the same."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}
# Errors of one entry. Any other, such as EIO, stops the listing.
_UNREACHABLE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG)


def usable_entries(listing: Listing, folder: str, split: str) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Yield the folders and the regular files in `folder`, with the status of what a link leads to.

    Anything else goes to `listing.left_out` with the reason. What is no picture by its name is counted in
    `listing.ignored`. Raises `FreelightError` if the folder cannot be read.
    """

    def leave_out(entry: os.DirEntry[str], reason: str) -> None:
        listing.left_out.append(LeftOut(split, relative_path(listing.root, entry.path), as_text(reason)))

    for entry in scan_folder(folder):
        try:
            status = entry.stat()
        except OSError as error:
            if error.errno not in _UNREACHABLE:
                raise
            if (kind := ignored_file(entry.name)) is None:
                leave_out(entry, _unreachable(entry, error))
            else:
                listing.ignored[kind] += 1
            continue
        is_folder = stat.S_ISDIR(status.st_mode)
        kind = ignored_folder(entry.name) if is_folder else ignored_file(entry.name)
        if kind is not None:
            listing.ignored[kind] += 1
        elif is_folder or stat.S_ISREG(status.st_mode):
            yield entry, status
        else:
            leave_out(entry, _KINDS.get(stat.S_IFMT(status.st_mode), "not a regular file"))


def list_below(
    listing: Listing, folder: str, split: str, seen: frozenset[Identity]
) -> tuple[list[SourceImage], list[str]]:
    """List every picture file below `folder`. Return the files, and the subfolders relative to `listing.root`.

    seen: folders that hold `folder`, from `folders_above`. A link to one of them, or to a folder that this call has
    listed, goes to `listing.left_out`: followed, it would list the same files again, or without end.
    """
    images: list[SourceImage] = []
    subfolders: list[str] = []
    known = set(seen)
    folders = [folder]
    links: list[str] = []  # followed last, so that a folder is listed under its own path
    while folders or links:
        linked = not folders
        place = links.pop(0) if linked else folders.pop()
        relative = relative_path(listing.root, place)
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in known:
            listing.left_out.append(LeftOut(split, relative, "a link to a folder that is listed already"))
            continue
        known.add((status.st_dev, status.st_ino))
        if place != folder:
            subfolders.append(relative)
        for entry, status in usable_entries(listing, place, split):
            if stat.S_ISDIR(status.st_mode):
                (links if entry.is_symlink() else folders).append(entry.path)
                continue
            path = f"{relative}/{as_text(entry.name)}"
            images.append(SourceImage(path, UNLABELLED, path, 0, status.st_size, status.st_mtime_ns))
        links.sort()
    return images, subfolders


def folders_above(folder: str | os.PathLike[str]) -> frozenset[Identity]:
    """Return the identities of `folder` and of the folders that hold it, by its own path and by what it links to."""
    paths = {Path(folder).absolute(), Path(folder).resolve()}
    found = (os.stat(place) for path in paths for place in (path, *path.parents))
    return frozenset((status.st_dev, status.st_ino) for status in found)


def relative_path(root: Path, path: str | os.PathLike[str]) -> str:
    """Return `path` relative to `root`, as text that does not depend on the locale."""
    return as_text(os.path.relpath(path, root))


def scan_folder(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name. Raises `FreelightError` if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise FreelightError(
            f"the folder {folder} cannot be read ({error.strerror}); make it readable, or move it away"
        ) from error


def _unreachable(entry: os.DirEntry[str], error: OSError) -> str:
    if not entry.is_symlink():
        return f"cannot be reached ({error.strerror})"
    target = os.readlink(entry.path)
    if error.errno == errno.ENOENT:
        return f"a link to {target}, which does not exist"
    if error.errno == errno.ELOOP:
        return f"a link to {target}, which leads back to the link"
    return f"a link to {target}, which cannot be reached ({error.strerror})"
