"""Hugging Face's older copy of imagenet-1k: archives whose file names end in the wnid, `..._n01440764.JPEG`."""

import re
from pathlib import Path

from ..base.errors import FreelightError
from ..sources.labelling import Labelling
from ..sources.listing import ByClass, Listing
from ..sources.ordered import OrderedPiece, OrderedSource
from .archives import list_flat_tar

ARCHIVE = re.compile(r"(train|val|test)_images(?:_\d+)?\.tar(\.gz)?$")
WNID = re.compile(r"_(n\d{8})\.\w+$")
EXPECTED = "train_images_0.tar.gz and so on, val_images.tar.gz, test_images.tar.gz, in the folder or in its data/"


def _archives(images: Path) -> list[tuple[str, Path]]:
    """Return (split, path) of the archives."""
    for folder in (images, images / "data"):
        if folder.is_dir():
            matches = [(ARCHIVE.match(path.name), path) for path in sorted(folder.iterdir())]
            if found := [(match.group(1), path) for match, path in matches if match]:
                return found
    return []


def recognises(images: Path) -> bool:
    """Tell whether such archives lie there."""
    return bool(_archives(images))


def list_source(images: Path, labelling: Labelling) -> Listing | OrderedSource:
    """List tars in place; tar.gz can only be read in order."""
    archives = [(split, str(path.relative_to(images))) for split, path in _archives(images)]
    compressed = {file.endswith(".gz") for _, file in archives}
    if len(compressed) == 2:
        raise FreelightError(f"{images} has both .tar and .tar.gz; leave one of the two")
    if compressed == {True}:
        pieces = tuple(OrderedPiece(split, file) for split, file in archives)
        return OrderedSource(root=images, layout="huggingface", pieces=pieces, class_of=class_of, labelling=labelling)
    splits: dict[str, ByClass] = {}
    for split, file in archives:
        by_class = splits.setdefault(split, {})
        for class_id, found in list_flat_tar(images, file, class_of).items():
            by_class.setdefault(class_id, []).extend(found)
    return Listing(root=images, layout="huggingface", splits=splits)


def class_of(path: str) -> str | None:
    """Return the wnid at the end of a file name; the pictures of test have none."""
    match = WNID.search(path)
    return match.group(1) if match else None
