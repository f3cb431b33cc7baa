"""Check a dataset directory against its manifest: find damaged, cut, missing and mixed-up files, down to the sample."""

import functools
import hashlib
import io
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tarfile import BLOCKSIZE
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..base import (
    CountOrAuto,
    FreelightError,
    StorageOptions,
    UnavailableError,
    ask_store,
    hash_file,
    open_forward,
    run_tasks,
    texts_of,
)
from ..images import decode_picture
from .directory import Dataset
from .manifest import MANIFEST, ShardInfo, SplitInfo, sources_name
from .split import describe_missing
from .tables import read_keys
from .tarfiles import TarWriter, label_text

LEVELS = ("hash", "crc", "decode")


class ShardCheck(NamedTuple):
    """The result of checking a shard of `images` samples: a line for each problem."""

    images: int
    problems: tuple[str, ...]


Watch = Callable[[Iterable[ShardCheck], int], Iterable[ShardCheck]]


@dataclass(frozen=True)
class _Task:
    info: ShardInfo
    rows: npt.NDArray[np.void] | None  # None: the tables cannot be read, so the hash alone is compared
    sources: list[str]
    index: str
    split: SplitInfo
    metadata: npt.NDArray[np.void] | None


def verify_dataset(
    place: Path | str,
    *,
    level: str = "hash",
    workers: CountOrAuto = 1,
    storage_options: StorageOptions = None,
    watch: Watch = lambda checks, total: checks,
) -> list[str]:
    """Return a line for each problem of the dataset; an empty list if every byte is as it was written.

    place: a folder or a URL, whose shards are read once and not kept. level: "hash" compares the sha256 of every file
    with the manifest; "crc" also compares each picture's crc32 and label with the samples table; "decode" also decodes
    each picture. storage_options: as of `Dataset`. watch: gets the iterable of the shards' results and the number of
    samples, and yields the same results, for example to show a progress bar.
    """
    if level not in LEVELS:
        raise FreelightError(f"`level` (={level}) must be one of {', '.join(LEVELS)}")
    if "://" in str(place):
        with tempfile.TemporaryDirectory(prefix="freelight-") as cache:  # for all files but the shards
            return _verify(Dataset(place, cache=cache, storage_options=storage_options), level, workers, watch)
    try:
        dataset = Dataset(place, storage_options=storage_options)
    except FreelightError as error:
        if not (Path(place) / MANIFEST).exists():  # no dataset, rather than a damaged one
            raise
        return [str(error)]
    return _verify(dataset, level, workers, watch)


def _verify(dataset: Dataset, level: str, workers: CountOrAuto, watch: Watch) -> list[str]:
    manifest, folder, cache = dataset.manifest, dataset.folder, dataset.cache
    problems = []
    if (folder / MANIFEST).read_bytes() != manifest.to_bytes():
        problems.append(f"{dataset.place}/{MANIFEST} was changed after it was written")
    problems += _check_files(dataset, manifest.files)
    tasks = []
    for name, split in manifest.splits.items():
        damaged = list(_check_files(dataset, split.files))
        problems += damaged
        bare = replace(split, shards=(), files={})
        opened = None
        if not damaged or cache is None:  # else opening it would fetch the damaged files once more
            try:
                opened = dataset.split(name)
            except FreelightError as error:
                problems.append(str(error))
        if opened is None:
            tasks += [_Task(info, None, [], "", bare, None) for info in split.shards]
            continue
        sources = ["?"] * len(opened)
        if (folder / sources_name(name)).exists():
            try:
                sources = opened.sources
            except FreelightError as error:
                problems.append(str(error))
        metadata = None
        try:
            metadata = opened.metadata_table
            opened.fields  # noqa: B018  # reads and checks them
        except FreelightError as error:
            problems.append(str(error))
        bounds = np.searchsorted(opened.samples["shard"], np.arange(len(split.shards) + 1))
        for shard, (info, first, last) in enumerate(zip(split.shards, bounds[:-1], bounds[1:], strict=True)):
            index = split.index_name(name, shard)
            described = None if metadata is None else metadata[first:last]
            tasks.append(_Task(info, opened.samples[first:last], sources[first:last], index, bare, described))
    check = functools.partial(
        _check_shard, folder, None if cache is None else cache.url, dataset.storage_options, level
    )
    for found in watch(run_tasks(check, tasks, workers=workers), sum(task.info.samples for task in tasks)):
        problems += found.problems
    listed = {shard.name for split in manifest.splits.values() for shard in split.shards}
    extra = sorted(name for name in _tars(dataset) if name not in listed)
    return problems + [
        f"{dataset.place}/{name} is not in the manifest, but a reader of *.tar would read it" for name in extra
    ]


def _tars(dataset: Dataset) -> list[str]:
    """Return the names of all tars beside the manifest. A server of HTTP has no list of them."""
    if dataset.cache is None:
        return [path.name for path in dataset.folder.glob("*.tar")]
    url = dataset.cache.url
    if url.startswith("http"):
        return []

    def find(files: Any, root: str) -> list[str]:
        return [str(name).rpartition("/")[2] for name in files.ls(root, detail=False)]

    what = f"{url} cannot be listed"
    names = ask_store(url, find, what, missing=what, options=dataset.storage_options)
    return [name for name in names if name.endswith(".tar")]


def _check_files(dataset: Dataset, files: dict[str, str]) -> Iterator[str]:
    for name, sha256 in files.items():
        if dataset.cache is not None:
            try:
                dataset.cache.fetch(name, sha256=sha256)
            except UnavailableError:
                raise
            except FreelightError as error:
                yield str(error)
            continue
        path = dataset.folder / name
        if not path.is_file():
            yield f"{path} is missing"
        elif hash_file(path) != sha256:
            yield f"{path} was changed after it was written"


def _check_shard(folder: Path, url: str | None, options: StorageOptions, level: str, task: _Task) -> ShardCheck:
    """Check one shard. folder: of the other files. url: of the shards, if they are not there. options: for a URL."""
    indexed, rows, url = task.split.indexed, task.rows, task.split.base or url
    path = f"{folder if url is None else url}/{task.info.name}"
    if url is None:
        if not Path(path).is_file():
            return ShardCheck(task.info.samples, (describe_missing(Path(path)),))
        with open(path, "rb") as file:
            found = os.fstat(file.fileno()).st_size
            data = file.read(min(task.info.bytes, found) + 1)  # a longer file differs already
    else:
        try:
            data = _fetch(url, options, task.info)
            if not _is_same(data, task.info):  # it may have been damaged on the way
                data = _fetch(url, options, task.info)
        except UnavailableError:
            raise
        except FreelightError as error:
            return ShardCheck(task.info.samples, (str(error),))
        found = len(data)
    unchanged = found == task.info.bytes and _is_same(data, task.info)
    if rows is None:
        return ShardCheck(task.info.samples, () if unchanged else (f"{path} was changed after it was written",))
    problems: list[str] = []
    if not unchanged or level != "hash":
        for row, source in zip(rows, task.sources, strict=True):
            if fault := _fault(data, row, decode=level == "decode", indexed=indexed):
                problems.append(f"{path}: the sample from {source} {fault}")
    if not unchanged and not problems and indexed:
        problems = [
            f"{path} was changed around its pictures since it was indexed; put the original back, or index again"
        ]
    elif not unchanged and not problems:
        problems = list(_changes_around_pictures(data, path, folder / task.index, rows, task))
        if not problems and found == task.info.bytes:
            problems = [f"{path}: the .json of a sample is changed; make the dataset again"]
        elif not problems:
            problems = [f"{path} has {found} bytes, but the manifest says {task.info.bytes}; make the dataset again"]
    try:
        read_keys(folder / task.index, len(rows), indexed=indexed)
    except FreelightError as error:
        problems.append(str(error))
    return ShardCheck(task.info.samples, tuple(problems))


def _is_same(data: bytes, info: ShardInfo) -> bool:
    """Tell whether a shard has the bytes that the manifest says."""
    return len(data) == info.bytes and hashlib.sha256(data).hexdigest() == info.sha256


def _fetch(url: str, options: StorageOptions, info: ShardInfo) -> bytes:
    """Return the bytes of a shard behind a URL, at most one more than it should have."""

    def read(files: Any, root: str) -> bytes:
        parts, left = [], info.bytes + 1
        with open_forward(files, f"{root}/{info.name}") as file:
            while left and (part := file.read(left)):
                parts.append(part)
                left -= len(part)
        return b"".join(parts)

    return ask_store(url, read, **texts_of(url, info.name, "put it back there"), options=options)


def _fault(data: bytes, row: np.void, *, decode: bool, indexed: bool) -> str | None:
    """Return what is wrong with a sample, or None."""
    offset, length = int(row["offset"]), int(row["length"])
    jpeg = data[offset : offset + length]
    if len(jpeg) != length:
        return f"is cut short ({len(jpeg)} of {length} bytes)"
    if zlib.crc32(jpeg) != row["crc32"]:
        return "is changed (crc32 differs)"
    if indexed:
        return _fault_of_foreign(jpeg, row) if decode else None
    label = label_text(int(row["label"]))
    if data[offset - 2 * BLOCKSIZE :][: len(label)] != label:
        return f"has another label in its .cls than in the samples table ({label.decode()})"
    if decode:
        try:
            with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
                width, height = int(row["width"]), int(row["height"])
                if image.format != "JPEG" or image.mode not in ("RGB", "L") or image.size != (width, height):
                    found = f"a {image.format} of {image.mode}, {image.width}x{image.height}"
                    return f"is {found}, not a JPEG of RGB or grey, {width}x{height}"
                image.load()
        except Exception as error:  # Pillow's readers raise errors of any type; the other samples are checked too
            return f"does not decode ({error})"
    return None


def _fault_of_foreign(data: bytes, row: np.void) -> str | None:
    """Return what is wrong with a picture that Freelight did not write, or None."""
    try:
        image = decode_picture(data)
    except FreelightError as error:
        return f"does not decode ({str(error).removeprefix('cannot decode: ')})"
    width, height = int(row["width"]), int(row["height"])
    return None if image.size == (width, height) else f"is {image.width}x{image.height} upright, not {width}x{height}"


def _changes_around_pictures(
    data: bytes, path: str, index: Path, rows: npt.NDArray[np.void], task: _Task
) -> Iterator[str]:
    """Yield the samples whose pictures are sound, but whose tar headers, labels or padding were changed.

    Write the tar again from the pictures and the tables, and compare.
    """
    try:
        keys = read_keys(index, len(rows))
        buffer = io.BytesIO()
        tar = TarWriter(buffer)
        for place, (key, row) in enumerate(zip(keys, rows, strict=True)):
            tar.add_sample(key, int(row["label"]), data[int(row["offset"]) :][: int(row["length"])])
            if task.metadata is not None:
                offset, length = task.metadata[place].tolist()
                tar.add_metadata(key, data[offset : offset + length])
        tar.close()
    except FreelightError:
        yield f"{path} was changed after it was written, and so was its index; make the dataset again"
        return
    expected = buffer.getvalue()
    count = max(len(expected), len(data))
    differs = np.flatnonzero(
        np.frombuffer(expected.ljust(count, b"\1"), np.uint8) != np.frombuffer(data.ljust(count, b"\2"), np.uint8)
    )
    ends = (rows["offset"] + rows["length"] + BLOCKSIZE - 1) // BLOCKSIZE * BLOCKSIZE
    for place in np.unique(np.searchsorted(ends, differs, side="right")).tolist():
        where = f"the sample from {task.sources[place]}" if place < len(ends) else "the end"
        yield f"{path}: {where} is changed around its picture (tar header, label or padding)"
