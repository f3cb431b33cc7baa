"""The classes of WebDataset samples: their ids, where the samples have numbers alone."""

import re
from pathlib import Path
from typing import NamedTuple

from ..base import FreelightError, anything, check, items, list_of, read_json, record, text
from ..sources import ByClass, Listing, SourceImage
from .tar_samples import Sample

CLASS_LISTS = ("_info.json", "info.json", "classes.json", "class_names.json", "imagenet_class_index.json")
"""Files beside the tars that may hold the classes in label order."""
_KEYS = ("classes", "class_names", "label_names")
"""Where an object of JSON may hold them."""
_WNID = re.compile(r"(?:^|/)(n\d{8})(?:_|$)")
_REMEDY = "correct it, or move it away"


class Listed(NamedTuple):
    """A class of a list: its id, or None if the list has names alone, and its name."""

    id: str | None
    name: str


class SampleClasses:
    """Collects the samples of every split, and then finds the id of each class number.

    listed: the classes in the order of their numbers; empty if no list of them is known.
    """

    def __init__(self, listed: list[Listed]) -> None:
        self._listed = listed
        self._splits: dict[str, dict[int | str | None, list[SourceImage]]] = {}
        self._ids: dict[int, set[str]] = {}  # by number, as the samples name them
        self._wnids: dict[int, set[str | None]] = {}  # by number, as the keys in train begin

    def add(self, split: str, image: SourceImage, sample: Sample) -> str:
        """Add a sample; return why it cannot be used, or ""."""
        number, class_id, fault = sample.known
        if fault:
            return fault
        known = class_id if number is None else number
        if known is None and split != "test":
            return "has no label: neither a .cls nor a label in its .json"
        if number is not None:
            if class_id is not None:
                self._ids.setdefault(number, set()).add(class_id)
            if split == "train":
                wnid = _WNID.search(sample.key)
                self._wnids.setdefault(number, set()).add(wnid and wnid[1])
        self._splits.setdefault(split, {}).setdefault(known, []).append(image)
        return ""

    def name(self, listing: Listing) -> None:
        """Put the samples into `listing` by class id, with the classes' names.

        The id of a number is the one in its samples, or the wnid with which their keys begin, or the one at its place
        in the list, or the number in five digits. Raises `FreelightError` if the samples contradict one another.
        """
        numbers = {known for by_number in self._splits.values() for known in by_number if isinstance(known, int)}
        ids = self._find_ids(numbers, listing.root)
        for split, by_number in self._splits.items():
            by_class: ByClass = listing.splits[split]
            for known, images in by_number.items():
                by_class.setdefault(ids[known] if isinstance(known, int) else known, []).extend(images)
        listing.names = {info.id: info.name for info in self._listed if info.id}
        for number, class_id in ids.items():
            if number < len(self._listed) and self._listed[number].id is None:
                listing.names[class_id] = self._listed[number].name
        train = listing.splits.get("train", {})
        trained = sorted((class_id, number) for number, class_id in ids.items() if class_id in train)
        for label, (class_id, number) in enumerate(trained):
            if label != number:
                listing.notes.append(
                    f"labels follow the sorted class ids of train, not the tars' numbers: {class_id} is {label} here, "
                    f"and {number} there"
                )
                break

    def _find_ids(self, numbers: set[int], root: Path) -> dict[int, str]:
        """Return the class id of each number."""
        if self._ids:
            if missing := sorted(numbers - self._ids.keys()):
                raise FreelightError(
                    f"{root}: class {missing[0]} has no id in its samples, unlike others; correct them"
                )
            return _require_one_to_one(self._ids, root)
        known = {info.id for info in self._listed if info.id}
        wnids = {number: wnid for number, found in self._wnids.items() if len(found) == 1 for wnid in found if wnid}
        if (
            wnids.keys() == numbers
            and len(set(wnids.values())) == len(wnids)
            and (not known or known.issuperset(wnids.values()))
        ):
            return wnids
        if self._listed and numbers and max(numbers) >= len(self._listed):
            raise FreelightError(
                f"{root} has the class number {max(numbers)}, but only {len(self._listed)} classes are listed, from 0; "
                "give their list as `class_names`"
            )
        return {number: (self._listed and self._listed[number].id) or f"{number:05d}" for number in numbers}


def _require_one_to_one(ids: dict[int, set[str]], root: Path) -> dict[int, str]:
    """Return the only id of each number. Raises `FreelightError` if there are several, or two numbers have one."""
    numbers: dict[str, int] = {}
    for number, found in sorted(ids.items()):
        if len(found) > 1:
            raise FreelightError(
                f"{root}: samples of class number {number} have the ids {', '.join(sorted(found)[:3])}; {_REMEDY}"
            )
        (class_id,) = found
        if class_id in numbers:
            raise FreelightError(
                f"{root}: samples of the class numbers {numbers[class_id]} and {number} have the same id {class_id!r}; "
                f"{_REMEDY}"
            )
        numbers[class_id] = number
    return {number: class_id for class_id, number in numbers.items()}


def find_class_list(folder: Path) -> list[Listed]:
    """Return the classes in the order of their numbers, from the first of `CLASS_LISTS` that has any."""
    found = (read_class_list(folder / name) for name in CLASS_LISTS if (folder / name).is_file())
    return next(filter(None, found), [])


def read_class_list(path: Path) -> list[Listed]:
    """Return the classes in a `.json`, in the order of their numbers; empty if it has none.

    Accepted are a list of names, of wnids, of `[id, name]` pairs or of `{"id", "name"}` objects; an object of these by
    number; and an object that holds one of these as "classes", "class_names" or "label_names".
    """
    content = read_json(path, anything, remedy=_REMEDY)
    if isinstance(content, dict):
        content = next((content[key] for key in _KEYS if key in content), content)
    if isinstance(content, dict) and content.keys() == set(map(str, range(len(content)))):
        content = [content[str(number)] for number in range(len(content))]
    if not isinstance(content, list):
        return []
    check(content, list_of(_listed_class), where=f"{path}: the classes", remedy=_REMEDY)
    listed = [_read_class(item) for item in content]
    ids = [info.id for info in listed if info.id]
    if len(set(ids)) < len(ids):
        raise FreelightError(f"{path} lists a class id twice; {_REMEDY}")
    return listed


def _listed_class(value: object, field: str) -> None:
    """Accept a name, an `[id, name]` pair, or an object with both."""
    id_, name = text(empty=False), text()
    if isinstance(value, str):
        name(value, field)
    elif isinstance(value, list):
        items(id_, name)(value, field)
    else:
        record({"id": id_, "name": name}, others=anything)(value, field)


def _read_class(value: str | list[str] | dict[str, str]) -> Listed:
    if isinstance(value, str):
        return Listed(value if re.fullmatch(r"n\d{8}", value) else None, value)
    return Listed(value["id"], value["name"]) if isinstance(value, dict) else Listed(value[0], value[1])
