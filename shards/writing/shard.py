"""Write one shard. Its bytes depend only on its source pictures and the settings."""

import hashlib
import itertools
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from ..base import (
    FreelightError,
    atomic_write,
    integer,
    items,
    list_of,
    one_of,
    plain_name,
    read_json,
    record,
    sha256_text,
    text,
)
from ..dataset import TarWriter, index_name, label_text, shard_name
from ..images import MAX_PICTURE, MAX_SIDE, Rescaled, check_picture_bytes, read_frame, rescale_picture
from ..sources import Source, SourceImage, read_blob
from .dealing import ShardTask
from .settings import ShardSettings

WRITE_OUT = 1 << 20
"""Bytes after which the kernel is asked to begin writing to the disk."""


class WrittenSample(NamedTuple):
    """A sample of a written shard.

    offset, length: of its JPEG in the tar, bytes. crc32: of the JPEG. kind: of the source file, "colour", "greyscale"
    or "cmyk". path: of the source. height, width: of the picture, pixels. metadata_offset, metadata_length: of its
    `.json` in the tar, bytes; length 0 if it has none.
    """

    offset: int
    length: int
    label: int
    crc32: int
    kind: str
    path: str
    height: int = 0
    width: int = 0
    metadata_offset: int = 0
    metadata_length: int = 0


_UINT32 = integer(most=2**32 - 1)
_SIDE = integer(least=1, most=MAX_SIDE)
# The last four are new in schema 2.
_SAMPLE = items(
    *(integer(), _UINT32, integer(least=-1), _UINT32, one_of("colour", "greyscale", "cmyk"), text(), _SIDE, _SIDE),
    *(integer(), _UINT32),
    least=6,
)
_LISTED = list_of(record({"split": text(), "path": text(), "reason": text()}))
_RECORD = record(
    {
        "split": plain_name,
        "shard": integer(),
        "bytes": integer(),
        "sha256": sha256_text,
        "index_sha256": sha256_text,
        "samples": list_of(_SAMPLE),
        "rejected": _LISTED,
    },
    {"suspect": _LISTED},
)
MAX_RECORD = 1 << 30
"""Maximum size of a shard's record, bytes: about 100 per picture, in a shard of any number of pictures."""


@dataclass(frozen=True)
class ShardRecord:
    """What a finished shard holds. The record is saved after the shard, so its presence means that it is finished."""

    split: str
    shard: int
    bytes: int
    sha256: str
    index_sha256: str
    samples: tuple[WrittenSample, ...]
    rejected: tuple[dict[str, str], ...]
    suspect: tuple[dict[str, str], ...] = ()  # samples whose source is damaged; 0.1 did not look for them

    @property
    def name(self) -> str:
        """The tar's file name."""
        return shard_name(self.split, self.shard)

    @property
    def index_name(self) -> str:
        """The index's file name."""
        return index_name(self.split, self.shard)

    @property
    def images(self) -> int:
        """The number of source pictures: samples and rejects."""
        return len(self.samples) + len(self.rejected)

    def save(self, path: Path) -> None:
        """Write the record to `path`, atomically."""
        with atomic_write(path, sync_folder=False) as file:
            file.write(json.dumps(vars(self)).encode())

    @classmethod
    def load(cls, path: Path, task: ShardTask) -> "ShardRecord":
        """Read a record that `save` wrote. Raises `FreelightError` if it is damaged, or not the record of `task`."""
        remedy = "delete it, and its shard is written again"
        content = read_json(path, _RECORD, remedy=remedy, limit=MAX_RECORD)
        content["samples"] = tuple(WrittenSample(*sample) for sample in content["samples"])
        content["rejected"] = tuple(content["rejected"])
        content["suspect"] = tuple(content.get("suspect", ()))
        found = cls(**content)
        rejected = {reject["path"] for reject in found.rejected}
        expected = [(image.path, image.label) for image in task.images if image.path not in rejected]
        if (found.name, [(sample.path, sample.label) for sample in found.samples]) != (task.name, expected):
            raise FreelightError(f"{path} is not the record of {task.name} of this source; {remedy}")
        ends = ((s.offset + s.length, s.metadata_offset + s.metadata_length) for s in found.samples)
        if max(itertools.chain.from_iterable(ends), default=0) > found.bytes:
            raise FreelightError(f"{path} has a sample that ends after the {found.bytes} bytes of its shard; {remedy}")
        return found


class _HashingFile:
    """Write to a file, and hash and count the bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()
        self.bytes = 0
        self._sent = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.bytes += len(data)
        written = self.file.write(data)
        if self.bytes - self._sent >= WRITE_OUT:
            # DONTNEED makes the kernel begin to write these bytes, so that the fsync at the end takes less time.
            os.posix_fadvise(self.file.fileno(), self._sent, self.bytes - self._sent, os.POSIX_FADV_DONTNEED)
            self._sent = self.bytes
        return written


def write_shard(
    source: Source, task: ShardTask, settings: ShardSettings, folder: Path, note: Callable[[str], None]
) -> ShardRecord:
    """Write `<split>-NNNNNN.tar` and its DALI index `.idx` (v1.2) into `folder`; return the record.

    A sample is `<key>.cls` (the label in five ASCII digits, or -1 for none), `<key>.jpg` and, if the settings say so,
    `<key>.json`. Pictures that cannot be decoded are left out and recorded with the reason, so keys may have gaps.
    note: gets the path of each picture before it is decoded. Raises `FreelightError` if the source changed since it was
    listed.
    """
    samples: list[WrittenSample] = []
    rejected: list[dict[str, str]] = []
    suspect: list[dict[str, str]] = []
    index_lines: list[str] = []
    with atomic_write(folder / task.name, sync_folder=False) as file:
        tar_file = _HashingFile(file)
        tar = TarWriter(tar_file)
        for key, image in enumerate(task.images, task.first_key):
            note(image.path)
            # Outside the try: a source that changed must stop the job.
            data = source.read(image) if image.bytes <= MAX_PICTURE else b""
            try:
                check_picture_bytes(image.bytes)
                rescaled = read_blob(data) if source.rescaled else rescale_picture(data, settings.rescaling)
                if rescaled.damage and settings.reject_suspect:
                    raise FreelightError(f"suspect: {rescaled.damage}")
            except FreelightError as error:
                rejected.append({"split": task.split, "path": image.path, "reason": str(error)})
                continue
            jpeg, kind = rescaled.jpeg, rescaled.kind
            if rescaled.damage:
                suspect.append({"split": task.split, "path": image.path, "reason": rescaled.damage})
            name = f"{key:08d}" if settings.schema == 1 else f"{task.split}-{key:08d}"
            label_at, jpeg_at = tar.add_sample(name, image.label, jpeg)
            label_length = len(label_text(image.label))
            line = f"cls {label_at} {label_length} {name}.cls jpg {jpeg_at} {len(jpeg)} {name}.jpg"
            metadata_at, metadata = 0, b""
            if settings.metadata:
                metadata = _describe(image, source, rescaled)
                metadata_at = tar.add_metadata(name, metadata)
                line += f" json {metadata_at} {len(metadata)} {name}.json"
            index_lines.append(f"{line}\n")
            height, width, _ = read_frame(jpeg) or (0, 0, 0)
            of_jpeg = (jpeg_at, len(jpeg), image.label, zlib.crc32(jpeg), kind, image.path, height, width)
            samples.append(WrittenSample(*of_jpeg, metadata_at, len(metadata)))
        tar.close()
    index = f"v1.2 {len(samples)}\n{''.join(index_lines)}".encode()
    with atomic_write(folder / task.index_name, sync_folder=False) as file:
        file.write(index)
    return ShardRecord(
        split=task.split,
        shard=task.shard,
        bytes=tar_file.bytes,
        sha256=tar_file.sha256.hexdigest(),
        index_sha256=hashlib.sha256(index).hexdigest(),
        samples=tuple(samples),
        rejected=tuple(rejected),
        suspect=tuple(suspect),
    )


def _describe(image: SourceImage, source: Source, rescaled: Rescaled) -> bytes:
    """Return the content of a sample's `.json`, ASCII: its class, and the path and the upright size of its source.

    Class id and name are null without a label.
    """
    info = source.classes[image.label] if image.label >= 0 else None
    content = {
        "class_id": info and info.id,
        "class_name": info and info.name,
        "source": image.path,
        "original_height": rescaled.height,
        "original_width": rescaled.width,
    }
    return json.dumps(content).encode()
