"""Class folders: `train/<class>/...` with `val/` and `test/`, or one level of classes."""

import os
import re
import stat
from pathlib import Path

from ..base import FreelightError, as_text
from ..sources import (
    ByClass,
    Labelling,
    LeftOut,
    Listing,
    OrderedSource,
    SourceImage,
    folders_above,
    ignored_file,
    ignored_folder,
    list_below,
    relative_path,
    scan_folder,
    usable_entries,
)
from .devkit import DEVKITS, read_devkit

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The names, in any case, of folders that are splits and not classes."""

SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
_PICTURE = re.compile(r"\.(jpe?g|jpe|png|webp|gif|bmp|tiff?|avif|jp2|j2k|p[gp]m)$", re.IGNORECASE)


class Folders:
    """Folders of classes."""

    name = "folders"
    expected = "train/<class>/<image> with val/ and test/, or <class>/<image>"

    def recognises(self, images: Path) -> bool:
        """Accept any folder."""
        return images.is_dir()

    def list_source(self, images: Path, labelling: Labelling) -> Listing:
        """List the tree. A `test` folder without class folders is a split without labels."""
        listing = Listing(root=images, layout=self.name, splits={})
        devkit = images / DEVKITS[2012]
        if labelling.label_order == "ilsvrc" and devkit.is_file():
            listing.devkit_order = read_devkit(devkit, 2012).order
        # Files of the user's own that are no pictures: not reported as left out.
        known = frozenset(path.resolve() for path in (labelling.class_names, labelling.classes, devkit) if path)
        for split, folder in (_find_splits(listing, known) or {"train": images}).items():
            if split == "test" and not _subfolders(folder):
                listing.splits[split] = {None: list_flat_folder(listing, folder, split)}
                continue
            listing.splits[split] = list_class_folders(listing, folder, split, known)
            if not listing.splits[split]:
                hint = f" (its files have no labels; move {folder.name}/ away to make the dataset without it)"
                raise FreelightError(
                    f"{folder} has no class folders; expected {folder}/<class>/<image>"
                    + (hint if split != "train" else "")
                )
        return listing


def _find_splits(listing: Listing, known: frozenset[Path]) -> dict[str, Path]:
    """Return the split folders, or nothing if the root holds class folders. Note which entries are not used.

    Raises `FreelightError` if two folders are the same split, if there is no `train`, or if folders of pictures lie
    beside the splits, which then could be classes.
    """
    images = listing.root
    folders = _subfolders(images)
    splits: dict[str, Path] = {}
    for name in folders:
        split = SPLIT_OF.get(name.lower())
        if split in splits:
            raise FreelightError(
                f"{images} has {splits[split].name}/ and {name}/, which are both the split {split}; move one away"
            )
        if split is not None:
            splits[split] = images / name
    if not splits:
        return {}
    found = ", ".join(f"{folder.name}/" for folder in splits.values())
    others = [name for name in folders if name.lower() not in SPLIT_OF]
    if classes := [name for name in others if _holds_pictures(images, name)]:
        raise FreelightError(
            f"{images} has {found}, which would be read as splits, and beside them pictures in {_first(classes)}. If "
            f"the first are splits, move the others away; if all are classes, move them into {images}/train/"
        )
    if "train" not in splits:
        raise FreelightError(
            f"{images} has {found} but no train/; give the folder that holds train/, or the one with "
            f"the class folders, such as {next(iter(splits.values()))}"
        )
    for split, folder in splits.items():
        if folder.name != split:
            listing.notes.append(f"{folder.name}/ is read as the split {split}")
    unused = [
        f"{entry.name}/" if entry.name in others else entry.name
        for entry in scan_folder(images)
        if (entry.name in others or entry.name not in folders)
        and not (ignored_file(entry.name) or ignored_folder(entry.name))
        and Path(entry.path).resolve() not in known
    ]
    if unused:
        listing.notes.append(as_text(f"not used: {_first(unused)}"))
    return {split: splits[split] for split in SPLIT_NAMES if split in splits}


def _first(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _holds_pictures(images: Path, name: str) -> bool:
    scratch = Listing(root=images, layout="", splits={})
    found, _ = list_below(scratch, str(images / name), "", folders_above(images))
    return any(_PICTURE.search(image.path) for image in found)


def list_class_folders(listing: Listing, folder: Path, split: str, known: frozenset[Path] = frozenset()) -> ByClass:
    """List the files below each class folder. Follow links: people make subsets of links.

    Files beside the class folders, except `known` ones, go to `listing.left_out`. Raises `FreelightError` if the
    folders within a class are splits.
    """
    found: ByClass = {}
    nested = 0
    inner: list[str] = []
    above = folders_above(folder)
    for entry, status in usable_entries(listing, str(folder), split):
        path = relative_path(listing.root, entry.path)
        if not stat.S_ISDIR(status.st_mode):
            if Path(entry.path).resolve() not in known:
                listing.left_out.append(LeftOut(split, path, "not in a class folder"))
        elif (status.st_dev, status.st_ino) in above:
            listing.left_out.append(LeftOut(split, path, "a link to a folder that holds it"))
        else:
            images, subfolders = list_below(listing, entry.path, split, above)
            found[as_text(entry.name)] = images
            inner += subfolders
            # The class folder's own files come first.
            nested += bool(images) and os.path.dirname(images[0].path) != path
    _refuse_splits_within(listing.root, inner, found)
    if nested and nested == sum(bool(images) for images in found.values()):
        listing.notes.append(
            f"warning: the class folders of {as_text(str(folder))} hold no pictures, only folders do, such as "
            f"{inner[0]}/; if these are the classes, give the folder that holds them as images"
        )
    return found


def _refuse_splits_within(root: Path, subfolders: list[str], found: ByClass) -> None:
    """Raise `FreelightError` if a class holds folders of two splits, or the only class a folder of one."""
    within: dict[str, dict[str, str]] = {}
    for path in subfolders:
        parent, _, name = path.rpartition("/")
        if split := SPLIT_OF.get(name.lower()):
            within.setdefault(parent, {})[split] = f"{name}/"
    for parent, splits in within.items():
        if len(splits) > 1 or len(found) == 1:
            names = ", ".join(sorted(splits.values()))
            raise FreelightError(
                f"{root / parent} holds {names}, which are splits and would all become one class; give the folder that "
                "holds train/ as `images` (for Kaggle's copy the one that holds ILSVRC/)"
            )


def list_flat_folder(listing: Listing, folder: Path, split: str) -> list[SourceImage]:
    """List every picture file of a folder without classes, and of its subfolders."""
    images, _ = list_below(listing, str(folder), split, folders_above(folder.parent))
    return images


def unused_splits(images: Path, found: Listing | OrderedSource) -> list[str]:
    """Return notes on the split folders in `images` of which nothing is used, for the layouts of archives."""
    folders = [name for name in _subfolders(images) if name.lower() in SPLIT_OF] if images.is_dir() else []
    if not folders:
        return []
    if isinstance(found, OrderedSource):
        files = iter(found.files())
    else:
        lists = (pictures for by_class in found.splits.values() for pictures in by_class.values())
        files = (picture.file for pictures in lists for picture in pictures)
    used = {file.partition("/")[0] for file in files}
    unused = [f"{name}/" for name in folders if name not in used]
    return [f"not used: {_first(unused)}, because the layout is not {Folders.name}"] if unused else []


def _subfolders(folder: Path) -> list[str]:
    return [e.name for e in scan_folder(folder) if os.path.isdir(e.path) and not ignored_folder(e.name)]
