"""The samples of a WebDataset tar: members with the same key, a picture and its label, `.cls` or `.json`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..base import FreelightError, anything, mapping, parse_json
from ..sources import LeftOut, Listing, Member, ReadAt, ignored_member, open_tar
from .archives import first_members

PICTURES = ("jpg", "jpeg", "png", "webp")
MAX_TEXT, MAX_JSON = 256, 1 << 20
"""Upper bounds for a `.cls` and for a `.json`, bytes."""
_OTHER = "other members"
_NUMBER = re.compile(r"[0-9]{1,9}")


class Label(NamedTuple):
    """What a sample says of its class: its number, its id, each None if unknown; and why it cannot be used, or ""."""

    number: int | None = None
    class_id: str | None = None
    fault: str = ""


UNKNOWN = Label()


@dataclass
class Sample:
    """key: the members' name up to the first dot of the file name. pictures: by the rest of the name, such as "jpg"."""

    key: str
    pictures: dict[str, Member] = field(default_factory=dict)
    label: Label = UNKNOWN
    metadata: Label = UNKNOWN

    @property
    def known(self) -> Label:
        """What `.cls` and `.json` say together; `.cls` counts first."""
        number = self.metadata.number if self.label.number is None else self.label.number
        class_id = self.label.class_id or self.metadata.class_id
        fault = self.label.fault or ("" if self.label.number is not None else self.metadata.fault)
        return Label(number, class_id, fault)


def split_member(name: str) -> tuple[str, str]:
    """Return a member's key and the rest of its name, as the library webdataset does: at the file name's first dot."""
    folder, slash, base = name.rpartition("/")
    stem, _, kind = base.partition(".")
    return f"{folder}{slash}{stem}", kind.lower()


def holds_samples(archive: Path) -> bool:
    """Tell whether the first members of a tar are samples: a picture, and a `.cls` or `.json` with the same key.

    Raises `FreelightError` if it is damaged there.
    """
    kinds: dict[str, set[str]] = {}
    for name in first_members(archive):
        key, kind = split_member(name)
        found = kinds.setdefault(key, set())
        found.add(kind)
        if found & {"cls", "json"} and found.intersection(PICTURES):
            return True
    return False


def read_samples(listing: Listing, file: str, split: str) -> Iterator[Sample]:
    """Yield the samples of the tar `file` below `listing.root` that have a picture, in the order of their first member.

    Of members that stand twice the last counts; an earlier picture goes to `listing.left_out`.
    """
    samples: dict[str, Sample] = {}
    path = listing.root / file
    for member, read_at in open_tar(path):
        key, kind = split_member(member.name)
        hidden = ignored_member(f"{key}.jpg")
        if hidden or kind not in (*PICTURES, "cls", "json"):
            listing.ignored[hidden or ignored_member(member.name) or _OTHER] += 1
            continue
        sample = samples.get(key)
        if sample is None:
            sample = samples[key] = Sample(key)
        if kind == "cls":
            sample.label = _read_cls(member, read_at)
        elif kind == "json":
            sample.metadata = _read_json(member, read_at)
        else:
            if earlier := sample.pictures.get(kind):
                listing.left_out.append(LeftOut(split, f"{file}/{earlier.name}", "stands again later in the archive"))
            sample.pictures[kind] = member
    for sample in samples.values():
        if sample.pictures:
            yield sample
        else:
            listing.ignored["samples without a picture"] += 1


def _read_cls(member: Member, read_at: ReadAt) -> Label:
    if member.bytes > MAX_TEXT:
        return Label(fault=f"its .cls has {member.bytes} bytes; at most {MAX_TEXT} are read")
    try:
        text = read_at(member.offset, member.bytes).decode().strip()
    except UnicodeDecodeError:
        return Label(fault="its .cls is not UTF-8 text")
    return _label(text, ".cls")


def _read_json(member: Member, read_at: ReadAt) -> Label:
    if member.bytes > MAX_JSON:
        return Label(fault=f"its .json has {member.bytes} bytes; at most {MAX_JSON} are read")
    try:
        content = parse_json(read_at(member.offset, member.bytes), mapping(anything), where="its .json", remedy="")
    except FreelightError as error:
        return Label(fault=" ".join(str(error).split())[:200].rstrip("; "))
    label = content.get("label")
    if isinstance(label, bool) or not isinstance(label, int | str | None):
        return Label(fault="the label of its .json is neither a number nor a text")
    number, class_id, fault = UNKNOWN if label is None else _label(str(label), "the label of its .json")
    named = content.get("class_id")
    if isinstance(named, str):
        _, class_id, wrong = _label(named, "the class_id of its .json")
        fault = fault or wrong
    return Label(number, class_id, fault)


def _label(text: str, where: str) -> Label:
    """Return what a text says: a class number if it is digits, nothing if it is empty or -1, else a class id."""
    if _NUMBER.fullmatch(text):
        return Label(number=int(text))
    if text in ("-1", ""):
        return UNKNOWN
    if len(text) > MAX_TEXT or not text.isprintable() or re.fullmatch(r"-?[0-9]+", text):
        return Label(fault=f"{where} is not a class number or id")
    return Label(class_id=text)
