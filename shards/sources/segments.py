"""Rescale an ordered source once, in its order, into segments that can be read at random.

A segment is a file of rescaled pictures (blobs) and an index. Each is written atomically, so that a restart makes only
the missing ones. The shards are then written from the segments. They have the same bytes as from a source that can be
read at random.
"""

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..base import FreelightError, atomic_write, integer, items, list_of, noting_pictures, nullable, read_json, text
from ..images import Rescaled, Rescaling, rescale_picture
from .ignoring import ignored_member
from .labelling import label_images
from .listing import UNLABELLED, ByClass, LeftOut, Listing, Source, SourceImage, keep_last
from .ordered import IGNORED, OrderedPiece, OrderedSource, Picture, TarGzPiece

SEGMENT_IMAGES, SEGMENT_BYTES = 256, 32 << 20
_REJECTED = b"!"
# Kind, damage, height and width of a picture. Version 0.1 had the kind alone.
_HEAD = re.compile(rb"(colour|greyscale|cmyk)(?:\t([ -~]*)(?:\t(\d{1,6})\t(\d{1,6}))?)?")
# Path, class id, offset and length of the blob, why the picture is left out or "", and the place of its class in the
# source's `class_names`. Version 0.1 wrote the first four.
_ROWS = list_of(items(text(), nullable(text()), integer(), integer(), text(), nullable(integer()), least=4))


class RescaledSegment(NamedTuple):
    """A finished segment: its number of pictures, and those of them that were rejected."""

    images: int
    rejected: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class _Segment:
    """A segment to make from pictures, or from a piece that the worker reads."""

    name: str
    split: str
    content: tuple[Picture, ...] | OrderedPiece


def rescale_in_order(
    source: OrderedSource,
    rescaling: Rescaling,
    folder: Path,
    *,
    run: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]],
    watch: Callable[[Iterable[RescaledSegment]], Iterable[RescaledSegment]],
) -> Source:
    """Rescale the pictures of `source` into segments in `folder`, except finished ones; return these as a source.

    run: `run(function, tasks)` yields `function(task)` of every task, in any order. watch: gets the finished segments
    and yields the same ones. Raises `FreelightError` if the source is damaged; finished segments are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = source.labelling.wanted()
    function = functools.partial(_rescale_segment, source.root, wanted, rescaling, folder)
    for _ in watch(run(function, _missing_segments(source, wanted, folder))):
        pass
    return _list_segments(source, folder)


def read_blob(blob: bytes) -> Rescaled:
    """Return a rescaled picture of a segment. Raises `FreelightError` with the reason if it was rejected."""
    head, _, body = blob.partition(b"\n")
    if head == _REJECTED:
        raise FreelightError(body.decode())
    found = _HEAD.fullmatch(head)
    if found is None:
        raise FreelightError("its rescaled copy in the staging area is damaged")
    kind, damage, height, width = (text.decode() for text in found.groups(b""))
    return Rescaled(body, kind, damage, int(height or 0), int(width or 0))


def _missing_segments(source: OrderedSource, wanted: frozenset[str] | None, folder: Path) -> Iterator[_Segment]:
    """Yield the segments that are not finished, in the order of the source."""
    for number, piece in enumerate(source.pieces):
        if piece.in_worker:
            segment = _Segment(f"{number:06d}-000000", piece.split, piece)
            if not (folder / f"{segment.name}.json").exists():
                yield segment
            continue
        finished = folder / f"{number:06d}.finished"  # holds the number of the piece's segments, written after the last
        segments = len(list(folder.glob(f"{number:06d}-*.json")))
        if finished.exists() and finished.read_bytes() == str(segments).encode():
            continue
        count = 0
        for count, pictures in enumerate(_cut(piece.read(source.root, wanted)), 1):
            segment = _Segment(f"{number:06d}-{count:06d}", piece.split, pictures)
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


def _rescale_segment(
    root: Path, wanted: frozenset[str] | None, rescaling: Rescaling, folder: Path, segment: _Segment
) -> RescaledSegment:
    """Rescale the pictures of a segment, and write its blobs and then its index."""
    content = segment.content
    pictures = content if isinstance(content, tuple) else content.read(root, wanted)
    rows: list[tuple[str, str | None, int, int, str, int | None]] = []
    rejected = []
    path = folder / f"{segment.name}.bin"
    with atomic_write(path) as file, noting_pictures(path) as note:
        for picture in pictures:
            if picture.left_out:
                if picture.left_out != IGNORED:
                    rejected.append(LeftOut(segment.split, picture.path, picture.left_out)._asdict())
                rows.append((picture.path, None, 0, 0, picture.left_out, None))
                continue
            note(picture.path)
            try:
                rescaled = rescale_picture(picture.data, rescaling)
                head = f"{rescaled.kind}\t{rescaled.damage}\t{rescaled.height}\t{rescaled.width}"
                blob = head.encode() + b"\n" + rescaled.jpeg
            except FreelightError as error:
                blob = _REJECTED + b"\n" + str(error).encode()
                rejected.append({"split": segment.split, "path": picture.path, "reason": str(error)})
            rows.append((picture.path, picture.class_id, file.tell(), len(blob), "", picture.number))
            file.write(blob)
            del picture  # else a large one stays in memory while the next one is read
    with atomic_write(folder / f"{segment.name}.json") as file:
        file.write(json.dumps(rows).encode())
    return RescaledSegment(len(rows), tuple(rejected))


def _list_segments(source: OrderedSource, folder: Path) -> Source:
    """List the pictures of all segments under their paths in the original source, and label them."""
    listing = Listing(root=folder, layout=source.layout, splits={}, notes=list(source.notes))
    for number, piece in enumerate(source.pieces):
        by_class: ByClass = listing.splits.setdefault(piece.split, {})
        for index in sorted(folder.glob(f"{number:06d}-*.json")):
            file = index.with_suffix(".bin")
            size, mtime = file.stat().st_size, file.stat().st_mtime_ns
            remedy = f"delete {index} and run the same command again"
            for path, class_id, offset, length, *further in read_json(index, _ROWS, remedy=remedy):
                if offset + length > size:
                    raise FreelightError(f"{index}: {path!r} ends after the {size} bytes of {file}; {remedy}")
                reason = further[0] if further else ""
                place = further[1] if len(further) > 1 else None
                if reason == IGNORED:
                    listing.ignored[ignored_member(path) or IGNORED] += 1
                    continue
                if reason:
                    listing.left_out.append(LeftOut(piece.split, path, reason))
                    continue
                if place is not None:
                    if place >= len(source.class_names):
                        raise FreelightError(
                            f"{index}: {path!r} has the class number {place}, which has no name; {remedy}"
                        )
                    listing.names.setdefault(class_id, source.class_names[place])
                image = SourceImage(path, UNLABELLED, file.name, offset, length, mtime)
                by_class.setdefault(class_id, []).append(image)
    if any(isinstance(piece, TarGzPiece) for piece in source.pieces):
        for split, by_class in listing.splits.items():
            keep_last(by_class, split, listing.left_out)
    ids = sorted(class_id for class_id in listing.splits.get("train", {}) if class_id is not None)
    if not listing.names and len(ids) == len(source.class_names):  # segments that version 0.1 wrote
        listing.names = dict(zip(ids, source.class_names, strict=True))
    return replace(label_images(listing, source.labelling), rescaled=True)
