"""A folder of class tars, n01440764.tar and so on: a release that was unpacked once."""

from pathlib import Path

from ..sources import ByClass, Labelling, Listing, ignored_folder, scan_folder
from .archives import class_tar_id, list_flat_tar


class ClassTars:
    """Class tars in one folder."""

    name = "class-tars"
    expected = "n01440764.tar and so on, one tar per class"

    def recognises(self, images: Path) -> bool:
        """Tell whether the folder holds class tars, and no folders, which may have been unpacked from them."""
        if not images.is_dir() or not _class_tars(images):
            return False
        return all(ignored_folder(entry.name) for entry in scan_folder(images) if entry.is_dir())

    def list_source(self, images: Path, labelling: Labelling) -> Listing:
        """List the wanted tars in place. There is only train."""
        listing = Listing(root=images, layout=self.name, splits={})
        wanted = labelling.wanted()
        found: ByClass = {}
        for class_id, file in _class_tars(images).items():
            if wanted is None or class_id in wanted:
                found[class_id] = list_flat_tar(listing, file, lambda name: None, "train").get(None, [])
        listing.splits["train"] = found
        return listing


def _class_tars(folder: Path) -> dict[str, str]:
    """Return the file names of a folder's class tars by wnid."""
    names = [(class_tar_id(entry.name), entry.name) for entry in scan_folder(folder) if entry.is_file()]
    return {class_id: name for class_id, name in names if class_id}
