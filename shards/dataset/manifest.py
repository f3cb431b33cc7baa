"""`dataset.json`, the manifest of a dataset directory, and the names of the directory's other files.

The manifest is written last, so a folder that has one is a finished dataset.
"""

import functools
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..base import MAX_JSON, FreelightError, anything, atomic_write, check, mapping, parse_json, read_limited
from ..sources import ClassInfo
from .schema import REMEDY, check_manifest

MANIFEST = "dataset.json"
REJECTED, SUSPECT = "rejected.jsonl", "suspect.jsonl"
SCHEMA, SCHEMAS = 2, (1, 2)
"""The schema of new datasets, and those that are read. Schema 1 is that of version 0.1."""

# One row per sample: its shard's number, where its JPEG lies in the shard (bytes), its label, the JPEG's crc32, and the
# size of the upright picture (pixels), which schema 1 did not have: all its pictures are squares of one size.
SAMPLE_1 = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("label", "<i4"), ("crc32", "<u4")])
SAMPLE = np.dtype([*SAMPLE_1.descr, ("height", "<u4"), ("width", "<u4")])
# One row per sample: where its `.json` lies in the shard (bytes); length 0 if it has none.
METADATA = np.dtype([("offset", "<u8"), ("length", "<u4")])


def shard_name(split: str, shard: int) -> str:
    """Return the file name of a shard's tar."""
    return f"{split}-{shard:06d}.tar"


def index_name(split: str, shard: int) -> str:
    """Return the file name of a shard's DALI index."""
    return f"{split}-{shard:06d}.idx"


def samples_name(split: str) -> str:
    """Return the file name of a split's samples table (dtype `SAMPLE`)."""
    return f"{split}.samples.npy"


def sources_name(split: str) -> str:
    """Return the file name of a split's list of source paths, one per sample."""
    return f"{split}.sources.txt"


def values_name(split: str, field: str) -> str:
    """Return the file name of a field's rows, sample by sample (dtype and shape: `FieldInfo`)."""
    return f"{split}.{field}.values.npy"


def offsets_name(split: str, field: str) -> str:
    """Return the file name of a field's offsets (uint64): sample i has the rows `offsets[i]` to `offsets[i + 1]`."""
    return f"{split}.{field}.offsets.npy"


def metadata_name(split: str) -> str:
    """Return the file name of the table that says where each sample's `.json` lies in its shard (dtype `METADATA`)."""
    return f"{split}.metadata.npy"


def parent_name(fingerprint: str) -> str:
    """Return the file name of the manifest that a dataset had before pictures were appended to it."""
    return f"parent-{fingerprint[:16]}.json"


@dataclass(frozen=True)
class ShardInfo:
    """A shard as the manifest lists it: file name, number of samples, and bytes and sha256 of the tar."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class FieldInfo:
    """A numeric field as the manifest lists it: of each sample an array of any number of rows.

    kind: "numbers"; or "boxes", whose rows are x1, y1, x2, y2 in pixels of the upright picture. dtype: NumPy's text,
    such as "<f4". shape: of a row. rows: of all samples.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class SplitInfo:
    """A split as the manifest lists it.

    samples, rejected: counts. labelled: False if the labels are -1. per_class: min, max and mean number of samples of
    a class, None without labels. kinds: counts of samples by the kind of their source file, "colour", "greyscale" or
    "cmyk". files: sha256 by name of the split's files other than tars. sizes: min, median and max of the samples'
    "height" and "width", pixels; None in schema 1. indexed: the tars are other people's, so only what the samples table
    says of them is known. base: URL of the folder of the shards; None if they lie in the dataset's own folder. fields:
    numeric fields, by name.
    """

    samples: int
    labelled: bool
    rejected: int
    per_class: dict[str, float] | None
    kinds: dict[str, int]
    shards: tuple[ShardInfo, ...]
    files: dict[str, str]
    sizes: dict[str, dict[str, float]] | None = None
    indexed: bool = False
    base: str | None = None
    fields: dict[str, FieldInfo] = field(default_factory=dict)

    def index_name(self, split: str, shard: int) -> str:
        """Return the file name of a shard's DALI index. split: this split's name."""
        # Shards behind a URL have names of their own, which another split may have too.
        return index_name(split, shard) if self.base else f"{self.shards[shard].name.removesuffix('.tar')}.idx"


@dataclass(frozen=True)
class Appended:
    """Pictures that were appended to a finished dataset.

    parent: fingerprint of the dataset before, whose manifest is kept under `parent_name`. source, made_with: as of
    `Manifest`.
    """

    parent: str
    source: dict[str, Any]
    made_with: dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """The contents of `dataset.json`.

    classes: in label order. label_order: "wnid" (sorted ids), "ilsvrc" (the devkit's order) or "shards" (the labels in
    indexed shards). image_size: side of the images, pixels, if all are squares of one size, else None. made_with:
    settings and library versions. source: layout, name and hash of the source. files: sha256 by name of the files that
    belong to no split. appended: in order, what was appended since the dataset was made.
    """

    classes: tuple[ClassInfo, ...]
    label_order: str
    image_size: int | None
    made_with: dict[str, Any]
    source: dict[str, Any]
    splits: dict[str, SplitInfo]
    files: dict[str, str]
    schema: int = SCHEMA
    appended: tuple[Appended, ...] = ()

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash that identifies the data: of the class ids, the image size and every shard's sha256, in order."""
        shards = {name: [shard.sha256 for shard in split.shards] for name, split in self.splits.items()}
        facts = [[info.id for info in self.classes], self.image_size, shards]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write `dataset.json` into `folder`, atomically."""
        with atomic_write(folder / MANIFEST) as file:
            file.write(self.to_bytes())

    def to_content(self) -> dict[str, Any]:
        """Return the contents of `dataset.json`, but for their hash."""
        content = {"schema": self.schema, **asdict(self)}
        for split in content["splits"].values():
            for name in ("sizes", "indexed", "base", "fields"):
                if not split[name]:
                    del split[name]
        if not self.appended:
            del content["appended"]
        return content

    def to_bytes(self) -> bytes:
        """Return the contents of `dataset.json`. They include their own hash, so that any changed byte is noticed."""
        return with_own_hash(self.to_content())

    @classmethod
    def load(cls, folder: Path, name: str = MANIFEST, *, where: object = None) -> "Manifest":
        """Read a manifest. Raises `FreelightError` if it is missing, damaged or unsafe, or has another schema.

        name: of its file; that of a dataset before pictures were appended is its `parent_name`. where: the dataset's
        place for messages, if `folder` is a copy.
        """
        path = folder / name
        shown = path if where is None else f"{where}/{name}"
        try:
            data = read_limited(path, limit=MAX_JSON, remedy=REMEDY)
        except FileNotFoundError:
            raise FreelightError(
                f"{folder} is not a finished dataset (no {name}); make it with: "
                f"freelight make-shards --images IMAGES --out {folder}"
            ) from None
        content = parse_json(data, mapping(anything), where=shown, remedy=REMEDY)
        if content.get("schema") not in SCHEMAS:
            raise FreelightError(
                f"{shown} has schema {content.get('schema')!r}, but this version reads only 1 and {SCHEMA}; "
                "use a newer version, or make the dataset again"
            )
        content.pop("sha256", None)  # `verify_dataset` checks it
        return cls.from_content(content, shown)

    @classmethod
    def from_content(cls, content: dict[str, Any], where: object) -> "Manifest":
        """Return the manifest of what `to_content` gave. Raises `FreelightError` if it is damaged or unsafe.

        where: the file that holds it, for messages.
        """
        check(content, check_manifest, where=where, remedy=REMEDY)
        content["classes"] = tuple(ClassInfo(**info) for info in content["classes"])
        content["appended"] = tuple(Appended(**part) for part in content.get("appended", ()))
        content["splits"] = {
            name: SplitInfo(
                **{
                    **split,
                    "shards": tuple(ShardInfo(**shard) for shard in split["shards"]),
                    "fields": {
                        known: FieldInfo(**{**info, "shape": tuple(info["shape"])})
                        for known, info in split.get("fields", {}).items()
                    },
                }
            )
            for name, split in content["splits"].items()
        }
        return cls(**content)


def with_own_hash(content: dict[str, Any]) -> bytes:
    """Return an object as JSON that ends with the hash of all before, as "sha256"."""
    sha256 = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return (json.dumps({**content, "sha256": sha256}, indent=1) + "\n").encode()
