"""The official archives of ILSVRC-2012: a tar of class tars, flat val and test tars, and the devkit."""

from pathlib import Path

from ..sources import Labelling, Listing
from .archives import list_class_tars, list_flat_tar, numbered_classes, require_all, require_file
from .devkit import DEVKITS, read_devkit

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
TESTS = ("ILSVRC2012_img_test_v10102019.tar", "ILSVRC2012_img_test.tar")


class Ilsvrc2012:
    """ILSVRC2012_img_train.tar and the archives beside it."""

    name = "ilsvrc2012"
    expected = f"{TRAIN}, and beside it {VAL}, {DEVKITS[2012]} and {TESTS[1]} if you have them"

    def recognises(self, images: Path) -> bool:
        """Tell whether one of the archives lies in the folder."""
        return any((images / name).is_file() for name in (TRAIN, VAL, *TESTS))

    def list_source(self, images: Path, labelling: Labelling) -> Listing:
        """List the archives in the folder. val needs the devkit; test has no labels."""
        listing = Listing(root=images, layout=self.name, splits={})
        devkit = None
        if (images / VAL).is_file():
            require_file(images, DEVKITS[2012], f"holds the labels of {VAL}")
        if (images / DEVKITS[2012]).is_file():
            devkit = read_devkit(images / DEVKITS[2012], 2012)
            listing.names, listing.devkit_order = devkit.names, devkit.order
        require_file(images, TRAIN, "defines the classes")
        listing.splits["train"] = list_class_tars(listing, TRAIN, "train")
        if devkit and (images / VAL).is_file():
            truth = devkit.class_ids(devkit.validation, images / DEVKITS[2012])
            class_of = numbered_classes(r"(?:^|/)ILSVRC2012_val_(\d{8})\.JPEG$", truth, "val")
            listing.splits["val"] = require_all(list_flat_tar(listing, VAL, class_of, "val"), len(truth), VAL)
        tests = [test for test in TESTS if (images / test).is_file()]
        if tests:
            listing.splits["test"] = list_flat_tar(listing, tests[0], lambda name: None, "test")
            listing.notes += [f"not used: {test}, because {tests[0]} is there" for test in tests[1:]]
        return listing
