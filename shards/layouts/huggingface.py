"""Hugging Face's older copy of imagenet-1k: archives of pictures whose names end in the wnid, `..._n01440764.JPEG`."""

import re
from pathlib import Path

from ..base import FreelightError
from ..sources import Labelling, Listing, OrderedSource, TarGzPiece
from .archives import list_flat_tar

ARCHIVE = re.compile(r"(train|val|test)_images(?:_\d+)?\.tar(\.gz)?$")
WNID = re.compile(r"_(n\d{8})\.\w+$")


class HuggingFace:
    """Archives train_images_0.tar.gz and so on."""

    name = "huggingface"
    expected = "train_images_0.tar.gz and so on, val_images.tar.gz, test_images.tar.gz, in the folder or in its data/"

    def recognises(self, images: Path) -> bool:
        """Tell whether the folder, or its data/, holds such archives."""
        return bool(_archives(images))

    def list_source(self, images: Path, labelling: Labelling) -> Listing | OrderedSource:
        """List tars in place; tar.gz can only be read in order."""
        archives = [(split, str(path.relative_to(images))) for split, path in _archives(images)]
        compressed = {file.endswith(".gz") for _, file in archives}
        if len(compressed) == 2:
            raise FreelightError(f"{images} has both .tar and .tar.gz archives; keep one kind")
        if compressed == {True}:
            pieces = tuple(TarGzPiece(split, file, wnid_of) for split, file in archives)
            return OrderedSource(root=images, layout=self.name, pieces=pieces, labelling=labelling)
        listing = Listing(root=images, layout=self.name, splits={})
        for split, file in archives:
            by_class = listing.splits.setdefault(split, {})
            for class_id, found in list_flat_tar(listing, file, wnid_of, split).items():
                by_class.setdefault(class_id, []).extend(found)
        return listing


def wnid_of(path: str) -> str | None:
    """Return the wnid at the end of a file name. The pictures of test have none."""
    match = WNID.search(path)
    return match.group(1) if match else None


def _archives(images: Path) -> list[tuple[str, Path]]:
    """Return (split, path) of the archives."""
    for folder in (images, images / "data"):
        if folder.is_dir():
            matches = [(ARCHIVE.match(path.name), path) for path in sorted(folder.iterdir())]
            if found := [(match.group(1), path) for match, path in matches if match]:
                return found
    return []
