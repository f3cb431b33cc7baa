"""CIFAR-10 as it is downloaded: the binary or the pickled archive, or the folder to which either unpacks.

A batch holds labels, and pictures of 32 x 32 pixels as planes in RGB order. `test_batch` is `val`.
"""

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..base import FreelightError
from ..sources import ForwardReader, Labelling, OrderedSource, Picture, ReadAt, is_wanted, walk_tar
from .archives import first_members, is_archive, open_forward
from .plain_pickle import read_pickle

CLASSES, SIDE = 10, 32
PLANES = 3 * SIDE * SIDE
MAX_PICKLE, MAX_META = 64 << 20, 1 << 16
"""Upper bounds for a pickled batch and for the list of classes, bytes. The official batches have 31 MB."""
BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "val": ("test_batch",)}
_HEAD = b"P6 %d %d 255\n" % (SIDE, SIDE)
_AGAIN = "fetch it again"


class Form(NamedTuple):
    """A form in which CIFAR-10 is offered. meta: the list of classes. suffix: of the batches."""

    archive: str
    folder: str
    meta: str
    suffix: str


FORMS = (
    Form("cifar-10-binary.tar.gz", "cifar-10-batches-bin", "batches.meta.txt", ".bin"),
    Form("cifar-10-python.tar.gz", "cifar-10-batches-py", "batches.meta", ""),
)


class Cifar10:
    """One of the official archives, in a folder or as `images` itself, or unpacked."""

    name = "cifar10"
    expected = " or ".join(form.archive for form in FORMS) + ", in a folder, as `images` itself, or unpacked"

    def recognises(self, images: Path) -> bool:
        """Tell whether `images` is such an archive or folder, or holds one."""
        return bool(_copies(images))

    def list_source(self, images: Path, labelling: Labelling) -> OrderedSource:
        """List the batches, which are read in order."""
        (form, path), *others = _copies(images)
        files = [path] if is_archive(path) else [path / name for name in _names(form) if (path / name).is_file()]
        counts: Counter[str] = Counter()
        classes: list[str] = []
        for file in files:
            for name, size, read_at in _members(file):
                counts[name] += 1
                if name == form.meta:
                    classes = _read_classes(form, file, size, read_at)
        for name in _names(form):
            if counts[name] != 1:
                raise FreelightError(f"{path} has {name} {counts[name]} times, not once; {_AGAIN}")
        if is_archive(path):
            root, read = path.parent, [(split, path.name) for split in BATCHES]
        else:
            root, read = path, [(split, f"{batch}{form.suffix}") for split in BATCHES for batch in BATCHES[split]]
        pieces = tuple(Batches(split, file, form, tuple(classes)) for split, file in read)
        notes = ["test_batch is read as the split val: CIFAR-10 has no other"]
        notes += [f"not used: {other.name}, because {path.name} is there" for _, other in others]
        return OrderedSource(root=root, layout=self.name, pieces=pieces, labelling=labelling, notes=notes)


@dataclass(frozen=True)
class Batches:
    """The batches of a split in the archive `file`, or one batch, a file of its own. classes: names, by label."""

    split: str
    file: str
    form: Form
    classes: tuple[str, ...]
    in_worker = False

    def read(self, root: Path, wanted: frozenset[str] | None) -> Iterator[Picture]:
        """Yield the pictures as PPM files. A class's id is its name. Raises `FreelightError` for a damaged batch."""
        for name, size, read_at in _members(root / self.file):
            if name not in (f"{batch}{self.form.suffix}" for batch in BATCHES[self.split]):
                continue
            where = f"{root / self.file}: {name}"
            records = _binary(where, size, read_at) if self.form.suffix else _pickled(where, size, read_at)
            for number, (label, planes) in enumerate(records):
                path = f"{self.file}/{number:05d}" if self.file == name else f"{self.file}/{name}/{number:05d}"
                if not 0 <= label < CLASSES:
                    yield Picture(path, None, b"", f"has the label {label}, not one of 0 to {CLASSES - 1}")
                elif is_wanted(self.classes[label], wanted):
                    pixels = np.frombuffer(planes, np.uint8).reshape(3, SIDE, SIDE).transpose(1, 2, 0)
                    yield Picture(path, self.classes[label], _HEAD + pixels.tobytes())


def _copies(images: Path) -> list[tuple[Form, Path]]:
    """Return the copies of CIFAR-10 that `images` is or holds, archives first."""
    if is_archive(images):
        first = next(first_members(images), "").split("/")
        return [(form, images) for form in FORMS if form.folder in first]
    archives = [(form, images / form.archive) for form in FORMS if (images / form.archive).is_file()]
    folders = [(form, folder) for form in FORMS for folder in (images, images / form.folder)]
    return archives + [(form, folder) for form, folder in folders if _is_unpacked(form, folder)]


def _is_unpacked(form: Form, folder: Path) -> bool:
    return (folder / form.meta).is_file() and (folder / f"data_batch_1{form.suffix}").is_file()


def _names(form: Form) -> tuple[str, ...]:
    """Return the names of all files of a copy that are read."""
    return (form.meta, *(f"{batch}{form.suffix}" for batches in BATCHES.values() for batch in batches))


def _members(file: Path) -> Iterator[tuple[str, int, ReadAt]]:
    """Yield (name, size, reader) of the members of an archive, or of the file itself; offsets may only grow."""
    with open_forward(file) as stream:
        if not is_archive(file):
            yield file.name, file.stat().st_size, stream.read_at
            return
        for member in walk_tar(stream.read_at, file):
            yield member.name.rpartition("/")[2], member.bytes, functools.partial(_read_within, stream, member.offset)


def _read_within(stream: ForwardReader, start: int, offset: int, length: int) -> bytes:
    return stream.read_at(start + offset, length)


def _read_classes(form: Form, file: Path, size: int, read_at: ReadAt) -> list[str]:
    where = f"{file}: {form.meta}"
    data = _read_whole(where, size, read_at, MAX_META)
    names: object = None
    if form.suffix:
        names = data.decode(errors="replace").split()
    elif isinstance(content := read_pickle(data, where), dict):
        names = content.get("label_names")
    if (
        not isinstance(names, list)
        or not all(isinstance(name, str) and name.isprintable() and 0 < len(name) <= 80 for name in names)
        or not len(names) == len(set(names)) == CLASSES
    ):
        raise FreelightError(f"{where} does not hold the names of {CLASSES} classes; {_AGAIN}")
    return names


def _read_whole(where: str, size: int, read_at: ReadAt, limit: int) -> bytes:
    if size > limit:
        raise FreelightError(f"{where} has {size} bytes; at most {limit} are read: {_AGAIN}")
    data = read_at(0, size)
    if len(data) < size:
        raise FreelightError(f"{where} is cut short; {_AGAIN}")
    return data


def _binary(where: str, size: int, read_at: ReadAt) -> Iterator[tuple[int, bytes]]:
    """Yield (label, planes) of the records: one byte, and then the planes."""
    record = 1 + PLANES
    if not size or size % record:
        raise FreelightError(f"{where} has {size} bytes, not a number of records of {record}; {_AGAIN}")
    for offset in range(0, size, record):
        data = read_at(offset, record)
        if len(data) < record:
            raise FreelightError(f"{where} is cut short at byte {offset}; {_AGAIN}")
        yield data[0], data[1:]


def _pickled(where: str, size: int, read_at: ReadAt) -> Iterator[tuple[int, bytes]]:
    """Yield (label, planes) of a pickled dict with `data`, uint8 (pictures, 3072), and `labels`."""
    content = read_pickle(_read_whole(where, size, read_at, MAX_PICKLE), where)
    pixels, labels = (content.get(key) if isinstance(content, dict) else None for key in ("data", "labels"))
    if (
        not isinstance(pixels, np.ndarray)
        or not isinstance(labels, list)
        or not all(isinstance(label, int) and abs(label) < 1 << 31 for label in labels)
        or pixels.shape != (len(labels), PLANES)
        or not labels
    ):
        raise FreelightError(f"{where} does not hold 'data' of {PLANES} bytes and a label per picture; {_AGAIN}")
    for label, planes in zip(labels, pixels, strict=True):
        yield label, planes.tobytes()
