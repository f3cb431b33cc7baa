"""Kaggle's copy: class folders for train, flat val and test folders, labels and names in text files."""

import csv
import io
import reprlib
from pathlib import Path

from ..base import FreelightError
from ..sources import Labelling, LeftOut, Listing, read_class_names, read_list
from .archives import require_file
from .folders import list_class_folders, list_flat_folder

TREE = Path("ILSVRC/Data/CLS-LOC")
NAMES, VAL_TRUTH = "LOC_synset_mapping.txt", "LOC_val_solution.csv"


class Kaggle:
    """The tree ILSVRC/Data/CLS-LOC/, and text files beside it."""

    name = "kaggle"
    expected = f"{TREE}/train/<wnid>/, and beside ILSVRC/ the files {NAMES} and {VAL_TRUTH}"

    def recognises(self, images: Path) -> bool:
        """Tell whether the folder holds the tree."""
        return (images / TREE / "train").is_dir()

    def list_source(self, images: Path, labelling: Labelling) -> Listing:
        """List train with the classes of its folders, val with those of the solution file, and test without labels."""
        listing = Listing(root=images, layout=self.name, splits={})
        listing.names = read_class_names(require_file(images, NAMES, "holds the names of the classes"))
        listing.splits["train"] = list_class_folders(listing, images / TREE / "train", "train")
        if (images / TREE / "val").is_dir():
            truth = _read_solution(require_file(images, VAL_TRUTH, "holds the labels of val"))
            flat = list_flat_folder(listing, images / TREE / "val", "val")
            val = listing.splits["val"] = {}
            for image in flat:
                class_id = truth.pop(Path(image.path).stem, None)
                if class_id is None:
                    listing.left_out.append(LeftOut("val", image.path, f"not in {VAL_TRUTH}"))
                else:
                    val.setdefault(class_id, []).append(image)
            if truth:
                missing = f"{next(iter(truth))}, which {VAL_TRUTH} lists ({len(truth)} missing)"
                raise FreelightError(f"{images / TREE / 'val'} lacks {missing}; fetch them again")
        if (images / TREE / "test").is_dir():
            listing.splits["test"] = {None: list_flat_folder(listing, images / TREE / "test", "test")}
        return listing


def _read_solution(path: Path) -> dict[str, str]:
    """Read `ImageId,PredictionString` lines: class ids by image. Boxes follow the id in the second field."""
    truth = {}
    lines = io.StringIO(read_list(path, "'ImageId,PredictionString'"), newline="")
    try:
        for row in csv.DictReader(lines):
            words = (row.get("PredictionString") or "").split()
            if not row.get("ImageId") or not words:
                found = reprlib.repr(row)
                raise FreelightError(
                    f"{path}: expected lines 'ImageId,PredictionString', found {found}; fetch it again"
                )
            truth[row["ImageId"]] = words[0]
    except csv.Error as error:
        raise FreelightError(f"{path} is not a CSV file ({error}); fetch it again") from None
    return truth
