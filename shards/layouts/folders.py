"""Class folders: `train/<class>/...` with `val/` and `test/`, or one level of classes."""

import os
from pathlib import Path

from ..base import FreelightError
from ..sources import UNLABELLED, ByClass, Labelling, LeftOut, Listing, SourceImage
from .devkit import DEVKITS, read_devkit

SPLITS = ("train", "val", "test")


class Folders:
    """Folders of classes."""

    name = "folders"
    expected = "train/<class>/<image> with val/ and test/, or <class>/<image>"

    def recognises(self, images: Path) -> bool:
        """Accept any folder."""
        return images.is_dir()

    def list_source(self, images: Path, labelling: Labelling) -> Listing:
        """List the tree. A `test` folder without class folders is a split without labels."""
        present = [split for split in SPLITS if (images / split).is_dir()]
        if "train" in present:
            folders = {split: images / split for split in present}
        elif present:
            raise FreelightError(
                f"{images} has {', '.join(present)}/ but no train/; give the folder that holds train/, or the one with "
                f"the class folders, such as {images / present[0]}"
            )
        else:
            folders = {"train": images}
        listing = Listing(root=images, layout=self.name, splits={})
        devkit = images / DEVKITS[2012]
        if labelling.label_order == "ilsvrc" and devkit.is_file():
            listing.devkit_order = read_devkit(devkit, 2012).order
        # Files of the user's own that are no pictures: not reported as left out.
        known = frozenset(path.resolve() for path in (labelling.class_names, labelling.classes, devkit) if path)
        for split, folder in folders.items():
            if split == "test" and not _subfolders(folder):
                listing.splits[split] = {None: list_flat_folder(images, folder, split, listing.left_out)}
                continue
            listing.splits[split] = list_class_folders(images, folder, split, listing.left_out, known)
            if not listing.splits[split]:
                hint = f" (its files have no labels; move {split}/ away to make the dataset without it)"
                raise FreelightError(
                    f"{folder} has no class folders; expected {folder}/<class>/<image>"
                    + (hint if split != "train" else "")
                )
        return listing


def list_class_folders(
    root: Path, folder: Path, split: str, left_out: list[LeftOut], known: frozenset[Path] = frozenset()
) -> ByClass:
    """List every file below each class folder. Follow links: people make subsets of links.

    Files beside the class folders, except `known` ones, and hidden files and folders go to `left_out`.
    """
    found: ByClass = {}
    for entry in _scan(folder):
        path = os.path.relpath(entry.path, root)
        if entry.name.startswith("."):
            left_out.append(LeftOut(split, path, "hidden"))
        elif entry.is_dir():
            found[entry.name] = _list_below(root, entry.path, split, left_out)
        elif Path(entry.path).resolve() not in known:
            left_out.append(LeftOut(split, path, "not in a class folder"))
    return found


def list_flat_folder(root: Path, folder: Path, split: str, left_out: list[LeftOut]) -> list[SourceImage]:
    """List every file of a folder without classes, and of its subfolders."""
    return _list_below(root, str(folder), split, left_out)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _subfolders(folder: Path) -> list[str]:
    return [entry.name for entry in _scan(folder) if entry.is_dir() and not entry.name.startswith(".")]


def _raise(error: OSError) -> None:
    raise error


def _list_below(root: Path, folder: str, split: str, left_out: list[LeftOut]) -> list[SourceImage]:
    images = []
    for place, subfolders, files in os.walk(folder, followlinks=True, onerror=_raise):
        for name in [name for name in subfolders if name.startswith(".")]:
            left_out.append(LeftOut(split, os.path.relpath(os.path.join(place, name), root), "hidden"))
            subfolders.remove(name)
        for name in files:
            path = os.path.join(place, name)
            relative = os.path.relpath(path, root)
            if name.startswith("."):
                left_out.append(LeftOut(split, relative, "hidden"))
                continue
            status = os.stat(path)
            images.append(SourceImage(relative, UNLABELLED, relative, 0, status.st_size, status.st_mtime_ns))
    return images
