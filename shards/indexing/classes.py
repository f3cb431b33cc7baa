"""The classes of indexed tars: a label keeps its number; ids and names come from a list, or from the keys."""

import re
from collections.abc import Iterable
from pathlib import Path

from ..base import FreelightError, read_limited
from ..layouts import CLASS_LISTS, Listed, read_class_list
from ..sources import ClassInfo, read_class_names
from .tar import TarRecord

MAX_CLASSES = 1 << 20
"""Upper bound for the classes: a label is its class's place among them."""
CARD = "README.md"
_MAX_CARD = 16 << 20
_ESCAPE = re.compile(r"\\(?:U(00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4})|u([0-9a-fA-F]{4})|(.))")
_NAME = re.compile(r"'?\"?([0-9]{1,7})'?\"?: *(.+)")


def read_classes(class_names: Path | None, folders: Iterable[Path]) -> list[Listed]:
    """Return the classes in label order, from the file `class_names`, or else from the first list in `folders`.

    Accepted are `.json` as `read_class_list` reads it, the dataset card of Hugging Face (`.md`), and lines of
    `<id><tab><name>`. Empty if there is no list.
    """
    if class_names is not None:
        if not class_names.is_file():
            raise FreelightError(f"`class_names` {class_names} is not a file; correct the name")
        if class_names.suffix == ".json":
            listed = read_class_list(class_names)
        elif class_names.suffix == ".md":
            listed = read_card(class_names)
        else:
            listed = [Listed(*item) for item in read_class_names(class_names).items()]
        if not listed:
            raise FreelightError(f"`class_names` {class_names} has no list of classes; give another file")
        return listed
    for folder in folders:
        for name in (*CLASS_LISTS, CARD):
            path = folder / name
            if path.is_file() and (listed := read_card(path) if name == CARD else read_class_list(path)):
                return listed
    return []


def read_card(path: Path) -> list[Listed]:
    """Return the class names in a dataset card: the `names` below `class_label` at its head, numbered from 0."""
    text = read_limited(path, remedy="correct it, or move it away", limit=_MAX_CARD).decode(errors="replace")
    parts = re.split(r"^---\s*$", text, maxsplit=2, flags=re.MULTILINE)
    lines = iter(parts[1].splitlines() if len(parts) == 3 and not parts[0].strip() else ())
    for line in lines:
        if line.strip() == "class_label:":
            break
    listed: list[Listed] = []
    if next(lines, "").strip() != "names:":
        return listed
    for line in lines:
        found = _NAME.fullmatch(line.strip())
        if found is None or int(found[1]) != len(listed):
            break
        name = _unquote(found[2].strip())
        listed.append(Listed(name if re.fullmatch(r"n\d{8}", name) else None, name))
    return listed


def _unquote(text: str) -> str:
    """Return the text of a scalar of YAML on one line: plain, in single or in double quotes."""
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0]:
        return text
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    return _ESCAPE.sub(lambda found: chr(int(digits, 16)) if (digits := found[1] or found[2]) else found[3], text[1:-1])


def name_classes(
    listed: list[Listed], splits: dict[str, list[TarRecord]]
) -> tuple[tuple[ClassInfo, ...], dict[str, int]]:
    """Return the classes in label order, and the label of each text that stands for one in the tars.

    A number is a label. Its class's id is the one in the list, or else the wnid with which the keys in train begin, or
    else the number in five digits. Other texts are class ids, in the order of the list, or else sorted. Raises
    `FreelightError` if numbers and ids are mixed, or if the list lacks one.
    """
    texts = {text: record.tar for records in splits.values() for record in records for text in record.labels}
    numbers = {text for text in texts if text.isdecimal()}
    if numbers and len(numbers) < len(texts):
        number, other = min(numbers), min(texts.keys() - numbers)
        raise FreelightError(
            f"labels are numbers in {texts[number]} ({number}), but not in {texts[other]} ({other}); give `label`"
        )
    if not numbers:
        return _name_ids(listed, texts)
    most = max(map(int, numbers))
    limit = len(listed) or MAX_CLASSES
    if most >= limit:
        known = f"only {limit} classes are listed, from 0" if listed else f"at most {limit} classes are read"
        raise FreelightError(f"{texts[str(most)]} has the label {most}, but {known}; correct the list or the labels")
    wnids = _wnids(splits.get("train", []))
    if not all(str(place) in wnids for place in range(most + 1)) or len(set(wnids.values())) < len(wnids):
        wnids = {}
    classes = []
    for place in range(len(listed) or most + 1):
        info = listed[place] if listed else Listed(None, "")
        class_id = info.id or wnids.get(str(place)) or f"{place:05d}"
        classes.append(ClassInfo(class_id, info.name or class_id))
    if len({info.id for info in classes}) < len(classes):
        raise FreelightError("the classes' ids in the list and in the tars contradict each other; give `class_names`")
    return tuple(classes), {number: int(number) for number in numbers}


def _name_ids(listed: list[Listed], texts: dict[str, str]) -> tuple[tuple[ClassInfo, ...], dict[str, int]]:
    """Name classes that the tars call by id, or by name if the list has names alone."""
    classes = [ClassInfo(known.id or known.name, known.name) for known in listed]
    classes = classes or [ClassInfo(text, text) for text in sorted(texts)]
    label_of = {info.id: label for label, info in enumerate(classes)}
    if missing := sorted(texts.keys() - label_of.keys()):
        raise FreelightError(
            f"{texts[missing[0]]} has the class {missing[0]!r}, which the list of classes lacks; add it there"
        )
    return tuple(classes), {text: label_of[text] for text in texts}


def _wnids(records: list[TarRecord]) -> dict[str, str]:
    """Return the wnid of each label of which all keys begin with one."""
    found: dict[str, set[str]] = {}
    for record in records:
        for label, wnid in record.wnids.items():
            found.setdefault(label, set()).add(wnid)
    return {label: wnid for label, (wnid, *others) in found.items() if wnid and not others}
