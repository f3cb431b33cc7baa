"""Sources that can only be read in order are rescaled once, in their order, into a staging area under the output.

Shards are then dealt from the staging area, which is read at random: they have the same bytes as from a copy of the
source that can be. Each segment of it is a file of blobs and an index, written whole or not at all, so that a restart
stages only what is missing.
"""

import functools
import gzip
import importlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..base.atomic import atomic_write
from ..base.errors import FreelightError
from ..images.rescaling import Rescaled, Rescaling, rescale_picture
from .labelling import Labelling, arrange
from .listing import UNLABELLED, ByClass, Listing, Source, SourceImage
from .tarwalk import walk_tar

GZIP_MAGIC = b"\x1f\x8b"
SEGMENT_IMAGES, SEGMENT_BYTES = 256, 32 << 20
_WNID = re.compile(r"_(n\d{8})\.\w+$")
_REJECTED = b"!"


@dataclass(frozen=True)
class OrderedPiece:
    """A part of an ordered source, read from beginning to end: a tar.gz, or one row group of a parquet file."""

    split: str
    file: str
    row_group: int | None = None
    metadata: Any = field(default=None, compare=False)  # the parquet file's, so that each piece need not read it


@dataclass(frozen=True, kw_only=True)
class OrderedSource:
    """A source that can only be read in order.

    class_of: the class id of a member of a tar.gz, by its path within it. label_names: of a parquet file, by label.
    """

    root: Path
    layout: str
    pieces: tuple[OrderedPiece, ...]
    labelling: Labelling
    class_of: Callable[[str], str | None] = field(default=lambda path: None)
    label_names: tuple[str, ...] = ()


class Picture(NamedTuple):
    """A picture as the source holds it: its path, its class id where known, its bytes."""

    path: str
    class_id: str | None
    data: bytes


class Staged(NamedTuple):
    """A segment that was staged: for progress, and for the budget of rejects."""

    images: int
    rejected: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class _Segment:
    name: str
    piece: OrderedPiece
    pictures: tuple[Picture, ...]  # empty for a row group, which the worker reads itself


def stage(
    source: OrderedSource,
    rescaling: Rescaling,
    folder: Path,
    *,
    run: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]],
    watch: Callable[[Iterable[Staged]], Iterable[Staged]],
) -> Source:
    """Rescale every picture of `source` into `folder`, but those staged already, and return it as a source of its own.

    Raises `FreelightError` for a source that is damaged: what was staged before stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    function = functools.partial(_stage_segment, source.root, source.labelling.wanted(), rescaling, folder)
    for _ in watch(run(function, _segments(source, folder))):
        pass
    return _listed(source, folder)


def unstage(blob: bytes) -> Rescaled:
    """Return a staged picture. Raises `FreelightError` with the reason where it was rejected when staged."""
    head, _, body = blob.partition(b"\n")
    if head == _REJECTED:
        raise FreelightError(body.decode())
    return Rescaled(body, head.decode())


def _segments(source: OrderedSource, folder: Path) -> Iterator[_Segment]:
    """Yield what is still to be staged, in the order of the source."""
    for number, piece in enumerate(source.pieces):
        if piece.row_group is not None:
            segment = _Segment(f"{number:06d}-000000", piece, ())
            if not (folder / f"{segment.name}.json").exists():
                yield segment
            continue
        finished = folder / f"{number:06d}.finished"  # its tar.gz was read to the end
        if finished.exists() and len(list(folder.glob(f"{number:06d}-*.json"))) == int(finished.read_text()):
            continue
        count = 0
        for count, pictures in enumerate(_cut(_read_tar_gz(source, piece)), 1):
            segment = _Segment(f"{number:06d}-{count:06d}", piece, pictures)
            if not (folder / f"{segment.name}.json").exists():
                yield segment
        with atomic_write(finished) as file:
            file.write(str(count).encode())


def _cut(pictures: Iterable[Picture]) -> Iterator[tuple[Picture, ...]]:
    """Cut a stream of pictures into segments, always at the same places."""
    segment: list[Picture] = []
    size = 0
    for picture in pictures:
        segment.append(picture)
        size += len(picture.data)
        if len(segment) == SEGMENT_IMAGES or size >= SEGMENT_BYTES:
            yield tuple(segment)
            segment, size = [], 0
    if segment:
        yield tuple(segment)


def _read_tar_gz(source: OrderedSource, piece: OrderedPiece) -> Iterator[Picture]:
    """Yield the pictures of a tar.gz, and of class tars within it, as they come; only those of wanted classes."""
    path = source.root / piece.file
    wanted = source.labelling.wanted()
    position = 0

    with gzip.open(path) as stream:

        def read_at(offset: int, length: int) -> bytes:
            nonlocal position
            while position < offset:
                skipped = len(stream.read(min(offset - position, 1 << 20)))
                if not skipped:
                    return b""
                position += skipped
            data = stream.read(length)
            position += len(data)
            return data

        def pictures() -> Iterator[Picture]:
            for member in walk_tar(read_at, path):
                inside = [member]
                if member.name.endswith(".tar"):
                    inside = walk_tar(read_at, path / member.name, member.offset, member.offset + member.bytes)  # type: ignore[assignment]
                for item in inside:
                    name = item.name if item is member else f"{member.name}/{item.name}"
                    class_id = source.class_of(name)
                    if wanted is None or class_id in wanted or class_id is None:
                        data = read_at(item.offset, item.bytes)
                        if len(data) < item.bytes:
                            raise EOFError(f"within {name}")
                        yield Picture(f"{piece.file}/{name}", class_id, data)

        try:
            yield from pictures()
            while stream.read(1 << 20):  # to the end, where gzip's own checksum lies
                pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FreelightError(f"{path} is damaged or cut short ({error}); fetch it again") from error


def _read_row_group(root: Path, piece: OrderedPiece) -> Iterator[Picture]:
    """Yield the pictures of a row group. The class is the wnid at the end of the path, else the label's number."""
    parquet = import_parquet()
    path = root / piece.file
    try:
        with parquet.ParquetFile(path, metadata=piece.metadata) as file:
            row = 0
            for batch in file.iter_batches(32, row_groups=[piece.row_group], columns=["image", "label"]):
                for image, label in zip(batch["image"].to_pylist(), batch["label"].to_pylist(), strict=True):
                    name = image.get("path") or f"{piece.row_group:06d}-{row:06d}"
                    row += 1
                    wnid = _WNID.search(name)
                    class_id = wnid.group(1) if wnid else f"{label:05d}"
                    known = label is not None and label >= 0
                    yield Picture(f"{piece.file}/{name}", class_id if known else None, image["bytes"] or b"")
    except OSError as error:  # as pyarrow's own errors are
        raise FreelightError(f"{path} cannot be read ({error}); fetch it again") from error


def _stage_segment(
    root: Path, wanted: frozenset[str] | None, rescaling: Rescaling, folder: Path, segment: _Segment
) -> Staged:
    pictures = segment.pictures if segment.piece.row_group is None else _read_row_group(root, segment.piece)
    rows: list[tuple[str, str | None, int, int]] = []
    rejected = []
    with atomic_write(folder / f"{segment.name}.bin") as file:
        for picture in pictures:
            if wanted is not None and picture.class_id is not None and picture.class_id not in wanted:
                continue
            try:
                rescaled = rescale_picture(picture.data, rescaling)
                blob = rescaled.kind.encode() + b"\n" + rescaled.jpeg
            except FreelightError as error:
                blob = _REJECTED + b"\n" + str(error).encode()
                rejected.append({"split": segment.piece.split, "path": picture.path, "reason": str(error)})
            rows.append((picture.path, picture.class_id, file.tell(), len(blob)))
            file.write(blob)
    with atomic_write(folder / f"{segment.name}.json") as file:
        file.write(json.dumps(rows).encode())
    return Staged(len(rows), tuple(rejected))


def _listed(source: OrderedSource, folder: Path) -> Source:
    """List the staging area, under the paths of the original."""
    listing = Listing(root=folder, layout=source.layout, splits={})
    for number, piece in enumerate(source.pieces):
        by_class: ByClass = listing.splits.setdefault(piece.split, {})
        for index in sorted(folder.glob(f"{number:06d}-*.json")):
            file = index.with_suffix(".bin")
            mtime = file.stat().st_mtime_ns
            for path, class_id, offset, length in json.loads(index.read_text(encoding="utf-8")):
                image = SourceImage(path, UNLABELLED, file.name, offset, length, mtime)
                by_class.setdefault(class_id, []).append(image)
    ids = sorted(class_id for class_id in listing.splits.get("train", {}) if class_id is not None)
    if len(ids) == len(source.label_names):
        listing.names = dict(zip(ids, source.label_names, strict=True))
    arranged = arrange(listing, source.labelling)
    return Source(
        folder, source.layout, arranged.classes, arranged.splits, arranged.label_order, arranged.left_out, rescaled=True
    )


def import_parquet() -> Any:
    """Return `pyarrow.parquet`. Raises `FreelightError` naming the extra where it is not installed."""
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise FreelightError("parquet needs pyarrow; install it with: pip install 'freelight[parquet]'") from None
