"""The whole Fall 2011 release: a tar, or tar.gz, of some 21,841 class tars; also any other archive of class tars."""

from pathlib import Path

from ..sources import Labelling, Listing, OrderedSource
from .archives import class_tar_id, first_members, is_archive, list_whole

NAMES = ("fall11_whole.tar", "fall11_whole.tar.gz")


class Fall2011:
    """One archive of class tars, in a folder or as `images` itself."""

    name = "fall2011"
    expected = f"{NAMES[0]} or {NAMES[1]} in a folder, or an archive of class tars (n01440764.tar) as `images` itself"

    def recognises(self, images: Path) -> bool:
        """Tell whether `images` is an archive of class tars, or a folder that holds one with the release's name."""
        return _archive(images) is not None

    def list_source(self, images: Path, labelling: Labelling) -> Listing | OrderedSource:
        """List the tar in place; a tar.gz can only be read in order."""
        archive = _archive(images)
        assert archive is not None
        return list_whole(archive, self.name, labelling)


def _archive(images: Path) -> Path | None:
    if is_archive(images):
        return images if any(map(class_tar_id, first_members(images))) else None
    return next((images / name for name in NAMES if (images / name).is_file()), None)
