"""Where the pictures come from: the images of each split, their labels, and the classes in label order."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import FreelightError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ClassInfo:
    """A class: its id (the wnid, unique) and its name (for people; two classes may share one)."""

    id: str
    name: str


@dataclass(frozen=True)
class SourceImage:
    """One picture of the source: path relative to its root, label, and size and time as seen when listed."""

    path: str
    label: int
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Source:
    """The pictures of every split, in a fixed order, under a root; `read` gives one picture's bytes."""

    root: Path
    layout: str
    classes: tuple[ClassInfo, ...]
    splits: dict[str, list[SourceImage]]

    def read(self, image: SourceImage) -> bytes:
        """Return the bytes of one picture. Raises `FreelightError` when it is no longer what was listed."""
        data = (self.root / image.path).read_bytes()
        if len(data) != image.bytes:
            raise FreelightError(
                f"{self.root / image.path} changed while it was read: {image.bytes} bytes listed, {len(data)} found"
            )
        return data


def list_folders(images: Path, *, val_fraction: float | None, class_names: Path | None, seed: int) -> Source:
    """List a class-folder tree: `train/<class>/...` (and `val/`, `test/`), or one level of classes.

    Labels are the sorted class ids. With one level, `val_fraction` of each class (rounded) goes to `val`, drawn by
    `seed`; without it everything is `train`. `class_names` is a file of `<id>\\t<name>` (or `<id> <name>`) lines.
    """
    if not images.is_dir():
        raise FreelightError(f"--images {images} is not a folder")
    present = [split for split in SPLITS if (images / split).is_dir()]
    if "train" in present:
        if val_fraction is not None:
            raise FreelightError(f"--val-fraction is for one level of classes, but {images} has {', '.join(present)}/")
        folders = {split: images / split for split in present}
    elif present:
        raise FreelightError(
            f"{images} has {', '.join(present)}/ but no train/; give the folder that holds train/, or the one with "
            f"the class folders, such as {images / present[0]}"
        )
    else:
        folders = {"train": images}
    names = read_class_names(class_names) if class_names else {}
    ids = {split: sorted(_subfolders(folder)) for split, folder in folders.items()}
    if not ids["train"]:
        raise FreelightError(f"{folders['train']} has no class folders; expected {folders['train']}/<class>/<image>")
    for split, found in ids.items():
        if unknown := sorted(set(found) - set(ids["train"])):
            raise FreelightError(f"{folders[split]} has the class {unknown[0]!r}, which {folders['train']} lacks")
    if names and (missing := sorted(set(ids["train"]) - set(names))):
        raise FreelightError(f"{class_names} has no name for class {missing[0]!r} ({len(missing)} missing)")
    label_of = {class_id: label for label, class_id in enumerate(ids["train"])}
    splits = {
        split: [
            image for class_id in ids[split] for image in _list_class(images, folder / class_id, label_of[class_id])
        ]
        for split, folder in folders.items()
    }
    if val_fraction is not None:
        splits = _split_classes(splits["train"], val_fraction, seed)
    for split, listed in splits.items():
        if not listed:
            raise FreelightError(f"no images for the split {split!r} under {images}")
    classes = tuple(ClassInfo(class_id, names.get(class_id, class_id)) for class_id in ids["train"])
    return Source(images, "folders", classes, splits)


def read_class_names(path: Path) -> dict[str, str]:
    """Read `<id>\\t<name>` (or `<id> <name>`) lines."""
    names = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FreelightError(f"{path} is not UTF-8 text ({error}); expected '<class id><tab><name>' lines") from None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        parts = line.split("\t", 1) if "\t" in line else line.split(None, 1)
        if len(parts) != 2:
            raise FreelightError(f"{path}:{number}: expected '<class id><tab><name>', found {line!r}")
        names[parts[0].strip()] = parts[1].strip()
    return names


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]


def _list_class(root: Path, folder: Path, label: int) -> list[SourceImage]:
    """List every file below a class folder, in sorted order of path. Links are followed: subsets are made of them."""
    images = []
    for place, subfolders, files in os.walk(folder, followlinks=True):
        subfolders.sort()
        for name in files:
            path = os.path.join(place, name)
            if "\n" in path:
                raise FreelightError(f"the file name {path!r} holds a line break; rename it")
            status = os.stat(path)
            images.append(SourceImage(os.path.relpath(path, root), label, status.st_size, status.st_mtime_ns))
    return sorted(images, key=lambda image: image.path)


def _split_classes(images: list[SourceImage], val_fraction: float, seed: int) -> dict[str, list[SourceImage]]:
    """Give `round(val_fraction * n)` of each class's n images to `val`, the rest to `train`."""
    if not 0 < val_fraction < 1:
        raise FreelightError(f"--val-fraction (={val_fraction}) must lie between 0 and 1")
    by_label: dict[int, list[SourceImage]] = {}
    for image in images:
        by_label.setdefault(image.label, []).append(image)
    splits: dict[str, list[SourceImage]] = {"train": [], "val": []}
    for label, members in by_label.items():
        drawn = np.random.Generator(np.random.Philox((seed, label))).permutation(len(members))
        chosen = set(drawn[: round(val_fraction * len(members))].tolist())
        for index, image in enumerate(members):
            splits["val" if index in chosen else "train"].append(image)
    return splits
