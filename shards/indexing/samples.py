"""The samples of a tar: members that follow each other and have one key, with a picture and a label."""

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from ..base import FreelightError, anything, mapping, parse_json
from ..dataset import MAX_METADATA
from ..images import MAX_PICTURE, Header, read_header
from ..sources import walk_tar
from .fields import FieldPlace
from .stream import TarStream

PICTURES = ("jpg", "jpeg", "png", "webp")
MAX_TEXT = 256
"""Upper bound for a label's text, bytes."""
MAX_MEMBERS = 64
"""Upper bound for the members of a sample."""
_NUMBER = re.compile(r"[0-9]{1,9}")
_NONE = ("", "-1")


@dataclass(frozen=True)
class LabelPlace:
    """Where the labels are: the members' extension, and the path to a value in a `.json`."""

    kind: str
    path: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "LabelPlace":
        """Read "cls" or "json:label" ("json:meta.label" goes deeper)."""
        kind, colon, path = text.partition(":")
        if not kind or (colon and (kind != "json" or not all(path.split(".")))) or (kind == "json" and not colon):
            raise FreelightError(f"`label` (={text}) must be the extension of a member, such as cls, or json:<key>")
        return cls(kind.lower(), tuple(path.split(".")) if colon else ())


@dataclass(slots=True)
class Picture:
    """A picture in a tar. offset, size: of its content, bytes. data: the content, if it is kept for a check."""

    name: str
    offset: int
    size: int
    crc32: int
    header: Header
    data: bytes = b""


@dataclass(slots=True)
class Sample:
    """One sample.

    members: extension, offset and length (bytes), and name of each. pictures: exactly one without a fault. label: a
    number or a class id. metadata: offset and length of the `.json`; 0, 0 without one. fields: arrays by name. fault:
    why the sample cannot be used, or "".
    """

    key: str
    members: list[tuple[str, int, int, str]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    label: str = ""
    metadata: tuple[int, int] = (0, 0)
    fields: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    fault: str = ""


def read_samples(
    tar: TarStream,
    where: object,
    place: LabelPlace,
    ignored: Counter[str],
    *,
    fields: Sequence[FieldPlace] = (),
    keep: bool,
    labelled: bool,
) -> Iterator[Sample]:
    """Yield the samples of a tar in order, with their faults; count other members in `ignored`.

    fields: what to read of each. keep: keep the pictures' bytes. labelled: a sample without a label, or without one of
    `fields`, is at fault.
    """
    parses_json = bool(place.path) or any(wanted.path for wanted in fields)
    seen: set[str] = set()
    sample: Sample | None = None
    for name, offset, size in walk_tar(tar.read_at, where, end=tar.end):
        folder, slash, base = name.rpartition("/")
        stem, dot, kind = base.partition(".")
        if not stem or not dot:
            ignored["members without a key and an extension"] += 1
            continue
        key = f"{folder}{slash}{stem}"
        if sample is None or key != sample.key:
            if sample is not None:
                yield _finish(sample, seen, fields, labelled)
            sample = Sample(key)
        if len(sample.members) == MAX_MEMBERS:
            sample.fault = f"has more than {MAX_MEMBERS} members"
            continue
        sample.members.append((kind, offset, size, name))
        lower = kind.lower()
        try:
            if lower == "json":
                _check_size("json", size, MAX_METADATA)
                sample.metadata = offset, size
            content = _read_json(tar, offset, size) if lower == "json" and parses_json and not sample.fault else {}
            if lower == place.kind and not sample.fault:
                sample.label = _read_label(tar, offset, size, place, content)
            for wanted in fields:
                if lower == wanted.kind and not sample.fault:
                    _read_field(tar, offset, size, wanted, content, sample)
            if lower.rpartition(".")[2] in PICTURES:
                sample.pictures.append(_read_picture(tar, name, offset, size, keep))
        except FreelightError as error:
            sample.fault = sample.fault or str(error)
    if sample is not None:
        yield _finish(sample, seen, fields, labelled)


def _finish(sample: Sample, seen: set[str], fields: Sequence[FieldPlace], labelled: bool) -> Sample:
    """Find what is wrong with a sample as a whole."""
    kinds = [member[0] for member in sample.members]
    if len(sample.pictures) > 1:  # one may be the picture, and others have longer extensions, such as `.mask.png`
        sample.pictures = [picture for picture in sample.pictures if _is_plain(picture.name)] or sample.pictures
    if sample.key in seen:
        sample.fault = "its key stands before in the tar; the members of a sample must follow each other"
    elif len(set(kinds)) < len(kinds):
        sample.fault = sample.fault or "has two members of one name"
    elif not sample.pictures:
        sample.fault = sample.fault or f"has no picture, only: {', '.join(sorted(kinds))}"
    elif len(sample.pictures) > 1:
        sample.fault = sample.fault or "has several pictures"
    elif not sample.label and labelled:
        members = ", ".join(sorted(kinds))
        sample.fault = sample.fault or f"has no label; name its place among {members} with `label`, as in json:label"
    elif labelled and (missing := [wanted for wanted in fields if wanted.name not in sample.fields]):
        sample.fault = sample.fault or f"has no {missing[0].source} for the field {missing[0].name!r}"
    seen.add(sample.key)
    return sample


def _is_plain(name: str) -> bool:
    return name.rpartition("/")[2].partition(".")[2].lower() in PICTURES


def _read_picture(tar: TarStream, name: str, offset: int, size: int, keep: bool) -> Picture:
    if size > MAX_PICTURE:
        raise FreelightError(f"has {size} bytes, more than {MAX_PICTURE >> 20} MiB")
    data = tar.read_at(offset, size)
    return Picture(name, offset, size, zlib.crc32(data), read_header(data), data if keep else b"")


def _check_size(kind: str, size: int, limit: int) -> None:
    if size > limit:
        raise FreelightError(f"its .{kind} has {size} bytes; at most {limit} are read")


def _on_one_line(error: FreelightError) -> FreelightError:
    return FreelightError(" ".join(str(error).split())[:200].rstrip("; "))


def _read_json(tar: TarStream, offset: int, size: int) -> dict[str, Any]:
    try:
        content: dict[str, Any] = parse_json(tar.read_at(offset, size), mapping(anything), where="its .json", remedy="")
        return content
    except FreelightError as error:
        raise _on_one_line(error) from None


def _read_field(
    tar: TarStream, offset: int, size: int, place: FieldPlace, content: dict[str, Any], sample: Sample
) -> None:
    """Add a field to a sample, unless it has none. content: of the `.json`."""
    if place.path:
        array = place.read_json(content)
    else:
        _check_size(place.kind, size, MAX_METADATA)
        try:
            array = place.read_npy(tar.read_at(offset, size))
        except FreelightError as error:
            raise _on_one_line(error) from None
    if array is not None:
        sample.fields[place.name] = array


def _read_label(tar: TarStream, offset: int, size: int, place: LabelPlace, content: dict[str, Any]) -> str:
    """Return a sample's label as text, "" if it has none. content: of the `.json`."""
    member = f"its .{place.kind}"
    value: object = content
    if place.path:
        for key in place.path:
            value = value.get(key) if isinstance(value, dict) else None
    else:
        _check_size(place.kind, size, MAX_TEXT)
        try:
            value = tar.read_at(offset, size).decode().strip()
        except UnicodeDecodeError:
            raise FreelightError(f"{member} is not UTF-8 text") from None
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise FreelightError(f"the label in {member} is neither a number nor a text")
    text = str(value)
    if text in _NONE:
        return ""
    if _NUMBER.fullmatch(text):
        return str(int(text))
    if len(text) > MAX_TEXT or not text.isprintable() or re.fullmatch(r"-?[0-9]+", text):
        raise FreelightError(f"{member} has no class number or id")
    return text
