"""List tars of class tars and flat tars of pictures, for the layouts that consist of archives."""

import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from ..base import FreelightError, open_regular
from ..images import GZIP_MAGIC
from ..sources import (
    UNLABELLED,
    ByClass,
    ForwardReader,
    Labelling,
    Listing,
    OrderedSource,
    SourceImage,
    TarGzPiece,
    ignored_member,
    keep_last,
    open_tar,
    walk_tar,
)

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz")
FIRST_MEMBERS = 16
"""Members by which an archive is recognised."""
CLASS_TAR = re.compile(r"(?:^|/)(n\d{8})\.tar$")


def class_tar_id(name: str) -> str | None:
    """Return the wnid of a member `n01440764.tar`, None for any other."""
    match = CLASS_TAR.search(name)
    return match.group(1) if match else None


def class_of_path(path: str) -> str | None:
    """Return the wnid of a picture in a class tar by its path, `n01440764.tar/n01440764_1.JPEG`."""
    tar, found, _ = path.partition(".tar/")
    return class_tar_id(f"{tar}.tar") if found else None


def is_archive(path: Path) -> bool:
    """Tell whether the path is a file with the name of a tar or tar.gz."""
    return path.name.endswith(ARCHIVE_SUFFIXES) and path.is_file()


def first_members(archive: Path) -> Iterator[str]:
    """Yield the names of the first members of a tar or tar.gz. Raises `FreelightError` if it is damaged there."""
    with open_forward(archive) as stream:
        for member in islice(walk_tar(stream.read_at, archive, skips_links=True), FIRST_MEMBERS):
            yield member.name


@contextmanager
def open_forward(archive: Path) -> Iterator[ForwardReader]:
    """Open a tar or tar.gz to be read from beginning to end.

    What gzip raises for damaged data becomes a `FreelightError` that names the file.
    """
    with open_regular(archive, remedy="fetch it again") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        try:
            yield ForwardReader(gzip.GzipFile(fileobj=file) if compressed else file, archive)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FreelightError(f"{archive} is damaged or cut short ({error}); fetch it again") from error


def list_whole(archive: Path, layout: str, labelling: Labelling) -> Listing | OrderedSource:
    """List a release that is one archive of class tars: a tar in place; a tar.gz can only be read in order."""
    with archive.open("rb") as opened:
        compressed = opened.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    if compressed:
        piece = TarGzPiece("train", archive.name, class_of_path)
        return OrderedSource(root=archive.parent, layout=layout, pieces=(piece,), labelling=labelling)
    listing = Listing(root=archive.parent, layout=layout, splits={})
    listing.splits["train"] = list_class_tars(listing, archive.name, "train")
    return listing


def is_ignored(listing: Listing, member: str) -> bool:
    """Tell whether a tar's member is no picture by its path, and count it in `listing.ignored`."""
    kind = ignored_member(member)
    if kind is not None:
        listing.ignored[kind] += 1
    return kind is not None


def list_class_tars(listing: Listing, file: str, split: str) -> ByClass:
    """List the pictures of a tar of class tars below `listing.root`, in place.

    Members that are not class tars have no class (None). Of members that stand twice, all but the last are left out.
    """
    mtime = (listing.root / file).stat().st_mtime_ns
    found: ByClass = {}
    for member, read_at in open_tar(listing.root / file):
        if is_ignored(listing, member.name):
            continue
        class_id = class_tar_id(member.name)
        if class_id is None:
            image = SourceImage(f"{file}/{member.name}", UNLABELLED, file, member.offset, member.bytes, mtime)
            found.setdefault(None, []).append(image)
            continue
        images = found.setdefault(class_id, [])
        where = f"{file}/{member.name}"
        for inner in walk_tar(read_at, listing.root / where, member.offset, member.offset + member.bytes):
            if not is_ignored(listing, inner.name):
                images.append(SourceImage(f"{where}/{inner.name}", UNLABELLED, file, inner.offset, inner.bytes, mtime))
    return keep_last(found, split, listing.left_out)


def list_flat_tar(listing: Listing, file: str, class_of: Callable[[str], str | None], split: str) -> ByClass:
    """List a tar of pictures, in place. class_of: returns a member's class id by its name, None if it has none.

    Of members that stand twice, all but the last are left out.
    """
    mtime = (listing.root / file).stat().st_mtime_ns
    found: ByClass = {}
    for member, _ in open_tar(listing.root / file):
        if is_ignored(listing, member.name):
            continue
        image = SourceImage(f"{file}/{member.name}", UNLABELLED, file, member.offset, member.bytes, mtime)
        found.setdefault(class_of(member.name), []).append(image)
    return keep_last(found, split, listing.left_out)


def numbered_classes(pattern: str, class_ids: list[str], split: str) -> Callable[[str], str]:
    """Return a function that finds a picture's class id by the number in its file name.

    pattern: of the file name; its group is the number k. class_ids: the id of picture k is `class_ids[k - 1]`. The
    function raises `FreelightError` for a name or number that does not fit.
    """
    expected = re.compile(pattern)

    def class_of(name: str) -> str:
        match = expected.search(name)
        if not match or not 1 <= int(match.group(1)) <= len(class_ids):
            raise FreelightError(
                f"the {split} archive's member {name!r} is not among the {len(class_ids)} pictures of the ground "
                "truth; give the archive and the devkit of the same release"
            )
        return class_ids[int(match.group(1)) - 1]

    return class_of


def require_all(found: ByClass, count: int, what: str) -> ByClass:
    """Return `found`. Raises `FreelightError` unless it has `count` pictures, the lines of the ground truth."""
    images = sum(len(images) for images in found.values())
    if images != count:
        raise FreelightError(
            f"{what} has {images} pictures, but its ground truth has {count} lines; download both again"
        )
    return found


def require_file(root: Path, name: str, why: str) -> Path:
    """Return the path of a file that must lie in `root`. Raises `FreelightError`, with the reason, if it does not."""
    if not (root / name).is_file():
        raise FreelightError(f"{root} has no {name}, which {why}; put it there")
    return root / name
