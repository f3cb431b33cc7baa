"""The whole Fall 2011 release: a tar, or tar.gz, of some 21,841 class tars; also any other tar of class tars."""

from pathlib import Path

from ..images import GZIP_MAGIC
from ..sources import Labelling, Listing, OrderedSource, TarGzPiece
from .archives import class_tar_id, list_class_tars

NAMES = ("fall11_whole.tar", "fall11_whole.tar.gz")


class Fall2011:
    """One archive of class tars, in a folder or as `images` itself."""

    name = "fall2011"
    expected = f"{NAMES[0]} or {NAMES[1]}, in a folder or as `images` itself"

    def recognises(self, images: Path) -> bool:
        """Tell whether `images` is an archive, or a folder that holds one with the release's name."""
        return _archive(images) is not None

    def list_source(self, images: Path, labelling: Labelling) -> Listing | OrderedSource:
        """List the tar in place; a tar.gz can only be read in order."""
        archive = _archive(images)
        assert archive is not None
        root, file = archive.parent, archive.name
        with archive.open("rb") as opened:
            compressed = opened.read(2) == GZIP_MAGIC
        if compressed:
            piece = TarGzPiece("train", file, class_of)
            return OrderedSource(root=root, layout=self.name, pieces=(piece,), labelling=labelling)
        listing = Listing(root=root, layout=self.name, splits={})
        listing.splits["train"] = list_class_tars(listing, file, "train")
        return listing


def class_of(path: str) -> str | None:
    """Return the wnid of a member's path, `n01440764.tar/n01440764_1.JPEG`."""
    tar, found, _ = path.partition(".tar/")
    return class_tar_id(f"{tar}.tar") if found else None


def _archive(images: Path) -> Path | None:
    if images.is_file() and images.name.endswith((".tar", ".tar.gz", ".tgz")):
        return images
    return next((images / name for name in NAMES if (images / name).is_file()), None)
