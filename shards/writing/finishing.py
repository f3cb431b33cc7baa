"""Finish a dataset whose shards are written: samples tables, lists of sources and rejects, and last the manifest."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base import FreelightError, atomic_write, hash_file
from ..dataset import (
    MANIFEST,
    METADATA,
    REJECTED,
    SAMPLE,
    SUSPECT,
    Manifest,
    ShardInfo,
    SplitInfo,
    common_side,
    metadata_name,
    samples_name,
    sources_name,
    summarize_sizes,
    to_schema_1,
)
from ..sources import Source
from .dealing import ShardTask
from .descriptions import describe_dataset
from .output import Output
from .settings import ShardSettings
from .shard import ShardRecord
from .summary import count_per_class


def finish_dataset(
    source: Source,
    output: Output,
    settings: ShardSettings,
    described: dict[str, Any],
    tasks: list[ShardTask],
    records: dict[str, ShardRecord],
) -> Manifest:
    """Write the files of each split, the lists of rejected and suspect images, and last the manifest; return it.

    described: what the manifest says of the source. records: of all tasks, by the shard's file name.
    """
    by_split = {split: [records[task.name] for task in tasks if task.split == split] for split in source.splits}
    rejected = {
        split: [
            *(left._asdict() for left in source.left_out if left.split == split),
            *(reject for record in found for reject in record.rejected),
        ]
        for split, found in by_split.items()
    }
    suspect = {
        split: [line for record in found for line in record.suspect]
        for split, found in by_split.items()
        if any(record.suspect for record in found)
    }
    files = {REJECTED: _to_lines(rejected)} | ({SUSPECT: _to_lines(suspect)} if suspect else {})
    classes = len(source.classes)
    splits = {
        split: _finish_split(output, split, found, rejected[split], classes, settings.schema)
        for split, found in by_split.items()
    }
    found_out: dict[str, Any] = {"notes": list(source.notes)} if source.notes else {}
    if suspect:
        found_out["suspect"] = {split: len(lines) for split, lines in suspect.items()}
    manifest = Manifest(
        classes=source.classes,
        label_order=source.label_order,
        image_size=settings.rescaling.size if settings.schema == 1 else common_side(splits.values()),
        made_with=settings.made_with(),
        source={**described, **found_out},
        splits=splits,
        files={},
        schema=settings.schema,
    )
    return save_dataset(output, manifest, files)


def save_dataset(output: Output, manifest: Manifest, files: dict[str, bytes]) -> Manifest:
    """Write the files that belong to no split, and last the manifest, which gets their hashes; return it.

    files: contents by name, without those of `describe_dataset`, which a dataset gets whose tars lie beside the
    manifest.
    """
    manifest = replace(manifest, files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
    if manifest.schema > 1 and all(split.base is None for split in manifest.splits.values()):
        described = describe_dataset(manifest)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in described.items()}
        manifest = replace(manifest, files=manifest.files | hashes)
        files = files | described
    for name, content in files.items():
        with atomic_write(output.folder / name) as file:
            file.write(content)
    manifest.save(output.folder)
    output.publish(*files, MANIFEST)
    return manifest


def save_tables(
    output: Output,
    split: str,
    samples: npt.NDArray[np.void],
    metadata: npt.NDArray[np.void],
    sources: Iterable[bytes],
) -> dict[str, str]:
    """Write a split's samples table, table of metadata and list of sources; return their hashes by name.

    samples: dtype `SAMPLE` or that of schema 1. metadata: dtype `METADATA`; written if a sample has any. sources: parts
    of the list.
    """
    tables = {samples_name(split): samples}
    if metadata["length"].any():
        tables[metadata_name(split)] = metadata
    for name, table in tables.items():
        with atomic_write(output.folder / name) as file:
            np.save(file, table)
    with atomic_write(output.folder / sources_name(split)) as file:
        file.writelines(sources)
    names = [samples_name(split), sources_name(split), *([metadata_name(split)] if len(tables) > 1 else [])]
    output.publish(*names)
    return {name: hash_file(output.folder / name) for name in names}


def _to_lines(by_split: dict[str, list[dict[str, str]]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for lines in by_split.values() for line in lines)


def _finish_split(
    output: Output, split: str, records: list[ShardRecord], rejected: list[dict[str, str]], classes: int, schema: int
) -> SplitInfo:
    """Write a split's samples table, list of sources and table of metadata; delete shards without samples."""
    kept = [record for record in records if record.samples]
    if not kept:
        raise FreelightError(f"no image of the split {split!r} can be decoded; the last one rejected: {rejected[-1]}")
    for record in records:
        if not record.samples:
            output.remove(record.name)
            output.remove(record.index_name)
    rows = [
        (shard, sample.offset, sample.length, sample.label, sample.crc32, sample.height, sample.width)
        for shard, record in enumerate(kept)
        for sample in record.samples
    ]
    table = np.array(rows, dtype=SAMPLE)
    metadata = [(s.metadata_offset, s.metadata_length) for record in kept for s in record.samples]
    paths = "".join(f"{sample.path}\n" for record in kept for sample in record.samples)
    files = {record.index_name: record.index_sha256 for record in kept} | save_tables(
        output,
        split,
        table if schema > 1 else to_schema_1(table),
        np.array(metadata, dtype=METADATA),
        [paths.encode(errors="surrogateescape")],
    )
    return SplitInfo(
        samples=len(rows),
        labelled=bool((table["label"] >= 0).all()),
        rejected=len(rejected),
        per_class=count_per_class(table["label"], classes),
        kinds=dict(sorted(Counter(sample.kind for record in kept for sample in record.samples).items())),
        shards=tuple(ShardInfo(record.name, len(record.samples), record.bytes, record.sha256) for record in kept),
        files=files,
        sizes=summarize_sizes(table) if schema > 1 else None,
    )
