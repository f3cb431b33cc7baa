"""The whole Winter 2021 release: a tar.gz, or tar, of some 19,167 class tars."""

from pathlib import Path

from ..sources import Labelling, Listing, OrderedSource
from .archives import list_whole

NAMES = ("winter21_whole.tar.gz", "winter21_whole.tar")


class Winter2021:
    """One archive of class tars, in a folder or as `images` itself."""

    name = "winter2021"
    expected = f"{NAMES[0]} or {NAMES[1]}, in a folder or as `images` itself"

    def recognises(self, images: Path) -> bool:
        """Tell whether `images` is the archive, or a folder that holds it."""
        return _archive(images) is not None

    def list_source(self, images: Path, labelling: Labelling) -> Listing | OrderedSource:
        """List the tar in place; a tar.gz can only be read in order."""
        archive = _archive(images)
        assert archive is not None
        return list_whole(archive, self.name, labelling)


def _archive(images: Path) -> Path | None:
    places = (images, *(images / name for name in NAMES))
    return next((place for place in places if place.name in NAMES and place.is_file()), None)
