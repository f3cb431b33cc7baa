"""A layout's listing -> a labelled source: which classes, in which order, and which pictures are held out as `val`."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..base import FreelightError, read_limited
from .listing import ByClass, ClassInfo, LeftOut, Listing, Source, SourceImage

LABEL_ORDERS = ("wnid", "ilsvrc")
MAX_LIST = 16 << 20
"""Upper bound for a list of classes or of labels, bytes."""


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """How classes become labels.

    val_fraction: share of each class, rounded, that becomes `val`; the pictures are drawn by `seed`. class_names: file
    of `<id>\\t<name>` lines. classes: file of the class ids to keep, one per line; None keeps all. label_order: "wnid"
    sorts the ids, which is usual today; "ilsvrc" is the devkit's order, which the authors used.
    """

    val_fraction: float | None = None
    class_names: Path | None = None
    classes: Path | None = None
    label_order: str = "wnid"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.val_fraction is not None and not 0 < self.val_fraction < 1:
            raise FreelightError(f"`val_fraction` (={self.val_fraction}) must lie between 0 and 1")
        if self.label_order not in LABEL_ORDERS:
            raise FreelightError(f"`label_order` (={self.label_order}) must be one of {', '.join(LABEL_ORDERS)}")

    def wanted(self) -> frozenset[str] | None:
        """Return the class ids in the file `classes`, or None if there is no file."""
        return frozenset(read_class_ids(self.classes)) if self.classes else None


def label_images(listing: Listing, labelling: Labelling) -> Source:
    """Give every picture its label, and sort each split by (class id, path).

    Raises `FreelightError` for classes that are empty, missing in `train`, or without a name or devkit number.
    """
    wanted = labelling.wanted()
    splits = dict(listing.splits)
    where = f"{listing.root} (layout {listing.layout})"
    left_out = list(listing.left_out)
    for split in ("train", "val"):
        for image in splits.get(split, {}).pop(None, []):
            left_out.append(LeftOut(split, image.path, "no class is known from its path"))
    if "train" not in splits:
        raise FreelightError(f"{where} has no train split, which defines the classes; add it beside the others")
    ids = sorted(class_id for class_id in splits["train"] if class_id is not None)
    if wanted is not None:
        if unknown := sorted(wanted - set(ids)):
            raise FreelightError(
                f"{labelling.classes} names the class {unknown[0]!r}, which {where} lacks; remove it there"
            )
        ids = sorted(wanted)
    for class_id in ids:
        if not splits["train"][class_id]:
            raise FreelightError(
                f"class {class_id!r} of {where} has no images in train, but would get a label; "
                "remove it, or list the other classes in `classes`"
            )
    if labelling.val_fraction is not None:
        if len(splits) > 1:
            raise FreelightError(
                f"`val_fraction` needs a source that has only train, but {where} has {', '.join(sorted(splits))}; "
                "omit it"
            )
        splits = _draw_val(splits["train"], ids, labelling)
    classes = _classes(ids, listing, labelling, where)
    label_of = {info.id: label for label, info in enumerate(classes)}
    labelled = {split: _label(splits.pop(split), split, label_of, wanted, where) for split in list(splits)}
    for split, images in labelled.items():
        if not images:
            out = [left for left in left_out if left.split == split]
            last = f" ({len(out)} left out; the last: {out[-1].path}, {out[-1].reason})" if out else ""
            raise FreelightError(f"no images for the split {split!r} in {where}{last}; add some, or remove the split")
    return Source(
        root=listing.root,
        layout=listing.layout,
        classes=classes,
        splits=labelled,
        label_order=labelling.label_order,
        left_out=tuple(sorted(left_out)),
        notes=(*listing.notes, *_describe_ignored(listing)),
    )


def _describe_ignored(listing: Listing) -> list[str]:
    if not listing.ignored:
        return []
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(listing.ignored.items()))
    return [f"{listing.ignored.total()} files or folders are ignored, because they hold no pictures: {kinds}"]


def _label(
    by_class: ByClass, split: str, label_of: dict[str, int], wanted: frozenset[str] | None, where: str
) -> list[SourceImage]:
    images: list[SourceImage] = []
    for class_id in sorted(by_class, key=lambda class_id: class_id or ""):
        found = sorted(by_class.pop(class_id))  # pop, so that ImageNet's list is not in memory twice
        if class_id is None:
            images += found
        elif class_id in label_of:
            label = label_of[class_id]
            images += [SourceImage(image[0], label, *image[2:]) for image in found]
        elif wanted is None:
            raise FreelightError(
                f"the split {split!r} of {where} has the class {class_id!r}, which train lacks; "
                "remove it there, or add it to train"
            )
    for image in images:
        if "\n" in image.path:
            raise FreelightError(f"the file name {image.path!r} holds a line break; rename it")
    return images


def _classes(ids: list[str], listing: Listing, labelling: Labelling, where: str) -> tuple[ClassInfo, ...]:
    names = listing.names
    if labelling.class_names:
        names = read_class_names(labelling.class_names)
        if missing := sorted(set(ids) - set(names)):
            raise FreelightError(
                f"{labelling.class_names} has no name for class {missing[0]!r} ({len(missing)} missing); add its line"
            )
    if labelling.label_order == "ilsvrc":
        if not listing.devkit_order:
            raise FreelightError(
                f"`label_order` ilsvrc needs the class numbers of the challenge's devkit, which is not in {where}; "
                "put ILSVRC2012_devkit_t12.tar.gz there, or use wnid"
            )
        number = {class_id: place for place, class_id in enumerate(listing.devkit_order)}
        if missing := sorted(set(ids) - set(number)):
            raise FreelightError(
                f"the devkit under {listing.root} has no class {missing[0]!r}; "
                "set `label_order` to wnid, or list the devkit's classes in `classes`"
            )
        ids = sorted(ids, key=number.__getitem__)
    return tuple(ClassInfo(class_id, names.get(class_id, class_id)) for class_id in ids)


def _draw_val(train: ByClass, ids: list[str], labelling: Labelling) -> dict[str, ByClass]:
    """Give `round(val_fraction * n)` of each class's n images to `val`, the rest to `train`."""
    assert labelling.val_fraction is not None
    splits: dict[str, ByClass] = {"train": {}, "val": {}}
    for place, class_id in enumerate(ids):
        members = sorted(train[class_id])
        drawn = np.random.Generator(np.random.Philox((labelling.seed, place))).permutation(len(members))
        chosen = set(drawn[: round(labelling.val_fraction * len(members))].tolist())
        splits["val"][class_id] = [image for index, image in enumerate(members) if index in chosen]
        splits["train"][class_id] = [image for index, image in enumerate(members) if index not in chosen]
        if not splits["train"][class_id]:
            raise FreelightError(
                f"`val_fraction` (={labelling.val_fraction}) leaves no image of class {class_id!r} "
                f"(of {len(members)}) in train; give a smaller share"
            )
    if not any(splits["val"].values()):
        raise FreelightError(
            f"`val_fraction` (={labelling.val_fraction}) gives val no image: the classes are small; give a larger share"
        )
    return splits


def read_list(path: Path, expected: str) -> str:
    """Return the text of a list, a UTF-8 file of at most `MAX_LIST` bytes. expected: what its lines are, for errors."""
    try:
        text = read_limited(path, limit=MAX_LIST, remedy=f"expected {expected} lines").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FreelightError(f"{path} is not UTF-8 text ({error}); expected {expected} lines") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines(path: Path, expected: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(io.StringIO(read_list(path, expected)), 1):
        if line.strip():
            yield number, line.rstrip("\n")


def read_class_names(path: Path) -> dict[str, str]:
    """Read `<id>\\t<name>` (or `<id> <name>`) lines. Raises `FreelightError` for an id that occurs twice."""
    names: dict[str, str] = {}
    for number, line in _lines(path, "'<class id><tab><name>'"):
        parts = line.split("\t", 1) if "\t" in line else line.split(None, 1)
        if len(parts) != 2:
            raise FreelightError(f"{path}:{number}: expected '<class id><tab><name>', found {line[:200]!r}")
        class_id = parts[0].strip()
        if class_id in names:
            raise FreelightError(
                f"{path}:{number}: the class {class_id[:200]!r} has a line already; remove one of them"
            )
        names[class_id] = parts[1].strip()
    return names


def read_class_ids(path: Path) -> list[str]:
    """Read the class ids of a subset: the first word of each line. Raises `FreelightError` for a file without any."""
    ids = [line.split()[0] for _, line in _lines(path, "'<class id>'")]
    if not ids:
        raise FreelightError(f"{path} has no class ids; write one class id per line")
    return ids
