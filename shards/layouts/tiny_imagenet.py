"""Tiny-ImageNet-200 as it is unpacked: pictures in `images/` below each class, the classes of val in a table."""

from pathlib import Path

from ..base import FreelightError
from ..sources import ByClass, Labelling, LeftOut, Listing, SourceImage, read_class_names, read_list
from .archives import require_file
from .folders import list_flat_folder

FOLDER = "tiny-imagenet-200"
IDS, NAMES, VAL_TRUTH = "wnids.txt", "words.txt", "val/val_annotations.txt"
_REMEDY = "unpack the archive again"


class TinyImageNet:
    """The tree `tiny-imagenet-200/`, or the folder that holds it."""

    name = "tiny-imagenet"
    expected = f"{IDS}, train/<wnid>/images/ and {VAL_TRUTH}, in the folder or in its {FOLDER}/"

    def recognises(self, images: Path) -> bool:
        """Tell whether the folder, or its `tiny-imagenet-200/`, has the lists of classes and of val."""
        return _root(images) is not None

    def list_source(self, images: Path, labelling: Labelling) -> Listing:
        """List train by its folders, val with the classes in its table, and test without labels."""
        root = _root(images)
        assert root is not None
        listing = Listing(root=root, layout=self.name, splits={})
        ids = read_list(root / IDS, "'<class id>'").split()
        if (root / NAMES).is_file():
            names = read_class_names(root / NAMES)  # of the whole of WordNet
            listing.names = {class_id: names[class_id] for class_id in ids if class_id in names}
        listing.splits["train"] = {class_id: _list_class(listing, root, class_id) for class_id in ids}
        listing.splits["val"] = _list_val(listing, root)
        if (root / "test").is_dir():
            listing.splits["test"] = {None: list_flat_folder(listing, root / "test", "test")}
        return listing


def _root(images: Path) -> Path | None:
    folders = (images, images / FOLDER)
    return next((root for root in folders if all((root / name).is_file() for name in (IDS, VAL_TRUTH))), None)


def _list_class(listing: Listing, root: Path, class_id: str) -> list[SourceImage]:
    """List the pictures of a class of train; `<wnid>_boxes.txt` lies beside their folder."""
    if "/" in class_id or class_id.startswith("."):
        raise FreelightError(f"{root / IDS}: {class_id[:80]!r} is no class id; {_REMEDY}")
    folder = root / "train" / class_id / "images"
    if not folder.is_dir():
        raise FreelightError(f"{folder} is missing, but {IDS} lists the class {class_id[:80]!r}; {_REMEDY}")
    return list_flat_folder(listing, folder, "train")


def _list_val(listing: Listing, root: Path) -> ByClass:
    """List val by the table's lines `<file> <wnid> <box>`. A picture that it lacks is left out."""
    path = require_file(root, VAL_TRUTH, "holds the labels of val")
    truth: dict[str, str] = {}
    for number, line in enumerate(read_list(path, "'<file><tab><wnid>'").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) < 2 or words[0] in truth:
            raise FreelightError(
                f"{path}:{number}: expected a file, which no line before has, and its class, found {line[:80]!r}; "
                f"{_REMEDY}"
            )
        truth[words[0]] = words[1]
    found: ByClass = {}
    folder = root / "val" / "images"
    for image in list_flat_folder(listing, folder, "val") if folder.is_dir() else []:
        class_id = truth.pop(image.path.rpartition("/")[2], None)
        if class_id is None:
            listing.left_out.append(LeftOut("val", image.path, f"not in {VAL_TRUTH}"))
        else:
            found.setdefault(class_id, []).append(image)
    if truth:
        raise FreelightError(
            f"{folder} lacks {next(iter(truth))[:80]}, which {VAL_TRUTH} lists ({len(truth)} missing); {_REMEDY}"
        )
    return found
