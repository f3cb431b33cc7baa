"""The official archives of ILSVRC-2010, whose test labels are public; `patch_images.tar` replaces bad pictures."""

from pathlib import Path

from ..sources import Labelling, LeftOut, Listing, open_tar, read_list
from .archives import is_ignored, list_class_tars, list_flat_tar, numbered_classes, require_all, require_file
from .devkit import DEVKITS, read_devkit, read_numbers

TARS = {split: f"ILSVRC2010_images_{split}.tar" for split in ("train", "val", "test")}
TEST_TRUTH, PATCH = "ILSVRC2010_test_ground_truth.txt", "patch_images.tar"


class Ilsvrc2010:
    """ILSVRC2010_images_train.tar and the archives beside it."""

    name = "ilsvrc2010"
    expected = f"{TARS['train']}, and beside it the val and test tars, {DEVKITS[2010]}, {TEST_TRUTH} and {PATCH}"

    def recognises(self, images: Path) -> bool:
        """Tell whether one of the archives lies in the folder."""
        return any((images / name).is_file() for name in TARS.values())

    def list_source(self, images: Path, labelling: Labelling) -> Listing:
        """List the archives in the folder. Pictures of `patch_images.tar` replace those of the same name."""
        listing = Listing(root=images, layout=self.name, splits={})
        devkit_path = require_file(images, DEVKITS[2010], "holds the class numbers and the labels of val")
        devkit = read_devkit(devkit_path, 2010)
        listing.names, listing.devkit_order = devkit.names, devkit.order
        require_file(images, TARS["train"], "defines the classes")
        listing.splits["train"] = list_class_tars(listing, TARS["train"], "train")
        numbers = {"val": devkit.validation}
        if (images / TARS["test"]).is_file():
            truth_path = require_file(images, TEST_TRUTH, f"holds the labels of {TARS['test']}")
            numbers["test"] = read_numbers(read_list(truth_path, "'<class number>'"), truth_path)
        for split, truth_numbers in numbers.items():
            if (images / TARS[split]).is_file():
                truth = devkit.class_ids(truth_numbers, f"the ground truth of {split}")
                class_of = numbered_classes(rf"(?:^|/)ILSVRC2010_{split}_(\d{{8}})\.JPEG$", truth, split)
                found = list_flat_tar(listing, TARS[split], class_of, split)
                listing.splits[split] = require_all(found, len(truth), TARS[split])
        if (images / PATCH).is_file():
            _patch(listing)
        return listing


def _patch(listing: Listing) -> None:
    """Replace pictures by those of the patch with the same file name; report the patch's others as left out."""
    mtime = (listing.root / PATCH).stat().st_mtime_ns
    members = [member for member, _ in open_tar(listing.root / PATCH) if not is_ignored(listing, member.name)]
    patches = {member.name.rsplit("/", 1)[-1]: member for member in members}
    for by_class in listing.splits.values():
        for images in by_class.values():
            for place, image in enumerate(images):
                if patch := patches.pop(image.path.rsplit("/", 1)[-1], None):
                    path = f"{PATCH}/{patch.name}"
                    images[place] = image._replace(
                        path=path, file=PATCH, offset=patch.offset, bytes=patch.bytes, mtime_ns=mtime
                    )
    listing.left_out += [LeftOut("train", f"{PATCH}/{name}", "replaces no picture") for name in patches]
