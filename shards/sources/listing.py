"""Where the pictures come from: a listing of every split, each picture a stretch of bytes in a file of the source."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..base.errors import FreelightError

UNLABELLED = -1


@dataclass(frozen=True)
class ClassInfo:
    """A class: its id (the wnid, unique) and its name (for people; two classes may share one)."""

    id: str
    name: str


class SourceImage(NamedTuple):
    """One picture of the source. `path` names it for people, archives included; its bytes lie in `file`, in place.

    file: relative to the source's root. label: `UNLABELLED` where none is known. mtime_ns: of `file` when listed.
    """

    path: str
    label: int
    file: str
    offset: int
    bytes: int
    mtime_ns: int


class LeftOut(NamedTuple):
    """Something beside the pictures that is not taken, said in `rejected.jsonl`."""

    split: str
    path: str
    reason: str


@dataclass(frozen=True)
class Source:
    """The pictures of every split, in a fixed order, under a root; `read` gives one picture's bytes.

    rescaled: what `read` gives is a staged picture (`staging.py`), not a file of the original.
    """

    root: Path
    layout: str
    classes: tuple[ClassInfo, ...]
    splits: dict[str, list[SourceImage]]
    label_order: str = "wnid"
    left_out: tuple[LeftOut, ...] = ()
    rescaled: bool = False

    def read(self, image: SourceImage) -> bytes:
        """Return the bytes of one picture. Raises `FreelightError` when its file is no longer what was listed."""
        path = self.root / image.file
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = read_exactly(descriptor, image.offset, image.bytes)
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        whole = image.path == image.file
        found = status.st_size if whole else len(data)
        if found != image.bytes or status.st_mtime_ns != image.mtime_ns:
            raise FreelightError(
                f"{path} changed while it was read: {image.bytes} bytes listed, {found} found, or written since; "
                "delete --out and run again"
            )
        return data


def read_exactly(descriptor: int, offset: int, length: int) -> bytes:
    """Return `length` bytes from `offset`, fewer only at the end of the file: one pread may give less."""
    parts = []
    while length and (part := os.pread(descriptor, length, offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


# Pictures by class id, in the order found; under None those of which no class is known.
ByClass = dict[str | None, list[SourceImage]]


@dataclass(kw_only=True)
class Listing:
    """What a layout found under `root`, before labels are given.

    names: of classes, where the layout knows them. devkit_order: class ids as the challenge's devkit numbers them.
    """

    root: Path
    layout: str
    splits: dict[str, ByClass]
    names: dict[str, str] = field(default_factory=dict)
    devkit_order: tuple[str, ...] = ()
    left_out: list[LeftOut] = field(default_factory=list)
