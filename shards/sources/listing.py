"""A source's pictures, listed by split: each is a range of bytes in one of the source's files."""

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..base import FreelightError, as_file_name

UNLABELLED = -1


@dataclass(frozen=True)
class ClassInfo:
    """A class: its unique id (the wnid) and its name for people, which two classes may share."""

    id: str
    name: str


class SourceImage(NamedTuple):
    """One picture of the source: `bytes` bytes from `offset` in `file`.

    path: the picture's name for people, which includes the names of archives; equal to `file` if the file holds the
    picture alone. label: `UNLABELLED` if none is known. file: relative to the source's root, as `as_text` gives it.
    mtime_ns: of `file` when it was listed.
    """

    path: str
    label: int
    file: str
    offset: int
    bytes: int
    mtime_ns: int


class LeftOut(NamedTuple):
    """Something among the pictures that is left out, and listed in `rejected.jsonl`."""

    split: str
    path: str
    reason: str


@dataclass(frozen=True)
class Source:
    """The pictures of every split, in a fixed order.

    root: the folder that holds the files. layout: the layout's name. rescaled: the pictures are segments' blobs
    (`segments.py`), already rescaled, not picture files. notes: lines for the summary.
    """

    root: Path
    layout: str
    classes: tuple[ClassInfo, ...]
    splits: dict[str, list[SourceImage]]
    label_order: str = "wnid"
    left_out: tuple[LeftOut, ...] = ()
    rescaled: bool = False
    notes: tuple[str, ...] = ()

    @property
    def has_loose_files(self) -> bool:
        """Whether pictures lie in folders as files of their own, so that a new file there would be listed too."""
        return any(image.path == image.file for images in self.splits.values() for image in images[:1])

    def read(self, image: SourceImage) -> bytes:
        """Return the bytes of one picture. Raises `FreelightError` if its file changed since it was listed."""
        path = self.root / as_file_name(image.file)
        try:  # O_NONBLOCK: a named pipe that has taken the file's place would wait for a writer
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise FreelightError(f"{path} was removed since it was listed; delete `out` and run again") from None
        except PermissionError as error:
            raise FreelightError(
                f"{path} cannot be read ({error.strerror}); make it readable and run again, or move it away"
            ) from None
        try:
            status = os.fstat(descriptor)
            data = read_exactly(descriptor, image.offset, image.bytes) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(descriptor)
        whole = image.path == image.file
        found = status.st_size if whole else len(data)
        if found != image.bytes or status.st_mtime_ns != image.mtime_ns:
            raise FreelightError(
                f"{path} changed since it was listed ({image.bytes} bytes then, {found} now); "
                "delete `out` and run again"
            )
        return data


def read_exactly(descriptor: int, offset: int, length: int) -> bytes:
    """Return `length` bytes from `offset`, or fewer at the end of the file. One `pread` may return fewer anywhere."""
    parts = []
    while length and (part := os.pread(descriptor, length, offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


# Pictures by class id, in the order found. Pictures of unknown class have the key None.
ByClass = dict[str | None, list[SourceImage]]


def keep_last(by_class: ByClass, split: str, left_out: list[LeftOut]) -> ByClass:
    """Return the listing of archives without members that stand again, by the same path: the last counts, as for `tar`.

    by_class: in the order of the archives. The others go to `left_out`.
    """
    for class_id, images in by_class.items():
        last = {image.path: image for image in images}
        if len(last) < len(images):
            doubles = [image for image in images if last[image.path] is not image]
            left_out += [LeftOut(split, image.path, "stands again later in the archive") for image in doubles]
            by_class[class_id] = list(last.values())
    return by_class


@dataclass(kw_only=True)
class Listing:
    """What a layout found under `root`, before classes get labels.

    layout: the layout's name. splits: pictures by split ("train", "val", "test") and class. names: class names by id,
    if the layout knows them. devkit_order: class ids in the order of the challenge's devkit, if the layout has one.
    left_out: files among the pictures that are not listed, for `rejected.jsonl`. ignored: counts of files that are no
    pictures, by kind (`ignoring.py`). notes: lines for the summary.
    """

    root: Path
    layout: str
    splits: dict[str, ByClass]
    names: dict[str, str] = field(default_factory=dict)
    devkit_order: tuple[str, ...] = ()
    left_out: list[LeftOut] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
