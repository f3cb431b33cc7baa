"""The Fall 2011 release as a whole: a tar, or tar.gz, of some 21,841 class tars; also any other tar of class tars."""

from pathlib import Path

from ..sources.labelling import Labelling
from ..sources.listing import Listing
from ..sources.ordered import GZIP_MAGIC, OrderedPiece, OrderedSource
from .archives import class_tar_id, list_class_tars

NAMES = ("fall11_whole.tar", "fall11_whole.tar.gz")
EXPECTED = f"{NAMES[0]} or {NAMES[1]}, in a folder or as --images itself"


def _archive(images: Path) -> Path | None:
    if images.is_file() and images.name.endswith((".tar", ".tar.gz", ".tgz")):
        return images
    return next((images / name for name in NAMES if (images / name).is_file()), None)


def recognises(images: Path) -> bool:
    """Tell whether it is an archive, or a folder with one of the release's name."""
    return _archive(images) is not None


def list_source(images: Path, labelling: Labelling) -> Listing | OrderedSource:
    """List the tar in place; a tar.gz can only be read in order."""
    archive = _archive(images)
    assert archive is not None
    root, file = archive.parent, archive.name
    with archive.open("rb") as opened:
        compressed = opened.read(2) == GZIP_MAGIC
    if compressed:
        return OrderedSource(
            root=root, layout="fall2011", pieces=(OrderedPiece("train", file),), class_of=class_of, labelling=labelling
        )
    return Listing(root=root, layout="fall2011", splits={"train": list_class_tars(root, file)})


def class_of(path: str) -> str | None:
    """Return the wnid of a member's path, `n01440764.tar/n01440764_1.JPEG`."""
    return class_tar_id(path.rsplit("/", 1)[0])
