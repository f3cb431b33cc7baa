"""What the archive layouts share: tars of class tars, flat tars, and the files that lie beside them."""

import re
from collections.abc import Callable
from pathlib import Path

from ..base.errors import FreelightError
from ..sources.listing import UNLABELLED, ByClass, SourceImage
from ..sources.tarwalk import open_tar, walk_tar

CLASS_TAR = re.compile(r"(?:^|/)(n\d{8})\.tar$")


def class_tar_id(name: str) -> str | None:
    """Return the wnid of a member `n01440764.tar`, None for any other."""
    match = CLASS_TAR.search(name)
    return match.group(1) if match else None


def list_class_tars(root: Path, file: str) -> ByClass:
    """List a tar of class tars: each picture of each class, in place. Other members have no class (None)."""
    mtime = (root / file).stat().st_mtime_ns
    found: ByClass = {}
    for member, read_at in open_tar(root / file):
        class_id = class_tar_id(member.name)
        if class_id is None:
            image = SourceImage(f"{file}/{member.name}", UNLABELLED, file, member.offset, member.bytes, mtime)
            found.setdefault(None, []).append(image)
            continue
        images = found.setdefault(class_id, [])
        where = f"{file}/{member.name}"
        for inner in walk_tar(read_at, root / where, member.offset, member.offset + member.bytes):
            images.append(SourceImage(f"{where}/{inner.name}", UNLABELLED, file, inner.offset, inner.bytes, mtime))
    return found


def list_flat_tar(root: Path, file: str, class_of: Callable[[str], str | None]) -> ByClass:
    """List a tar of pictures; `class_of` gives a member's class id by its name, None where there is none."""
    mtime = (root / file).stat().st_mtime_ns
    found: ByClass = {}
    for member, _ in open_tar(root / file):
        image = SourceImage(f"{file}/{member.name}", UNLABELLED, file, member.offset, member.bytes, mtime)
        found.setdefault(class_of(member.name), []).append(image)
    return found


def numbered_classes(pattern: str, class_ids: list[str], split: str) -> Callable[[str], str]:
    """Return the class of the picture of number k (1 to n) in a name that fits `pattern`, from line k of the truth."""
    expected = re.compile(pattern)

    def class_of(name: str) -> str:
        match = expected.search(name)
        if not match or not 1 <= int(match.group(1)) <= len(class_ids):
            raise FreelightError(
                f"the {split} archive's member {name!r} is none of the {len(class_ids)} pictures of the ground truth; "
                "give the archive and the devkit of one release"
            )
        return class_ids[int(match.group(1)) - 1]

    return class_of


def require_all(found: ByClass, count: int, what: str) -> ByClass:
    """Raise `FreelightError` unless there are as many pictures as lines of ground truth."""
    images = sum(len(images) for images in found.values())
    if images != count:
        raise FreelightError(f"{what} has {images} pictures, its ground truth {count} lines; fetch both again")
    return found


def require_file(root: Path, name: str, why: str) -> Path:
    """Return the path of a file that must lie beside the archives."""
    if not (root / name).is_file():
        raise FreelightError(f"{root} has no {name}, which {why}; put it there")
    return root / name
