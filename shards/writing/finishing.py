"""Finish a dataset whose shards are written: samples tables, lists of sources and rejects, and last the manifest."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base import MAX_JSON, FreelightError, atomic_write, hash_file
from ..dataset import (
    MANIFEST,
    METADATA,
    REJECTED,
    SAMPLE,
    SUSPECT,
    Appended,
    Manifest,
    ShardInfo,
    SplitInfo,
    common_side,
    metadata_name,
    parent_name,
    samples_name,
    sources_name,
    summarize_sizes,
    to_schema_1,
)
from ..sources import Source
from .dealing import ShardTask
from .descriptions import describe_dataset
from .output import Output
from .parent import Earlier, Parent
from .settings import ShardSettings
from .shard import ShardRecord, WrittenSample
from .summary import count_per_class


def finish_dataset(
    source: Source,
    output: Output,
    settings: ShardSettings,
    described: dict[str, Any],
    tasks: list[ShardTask],
    records: dict[str, ShardRecord],
    parent: Parent | None = None,
) -> Manifest:
    """Write the files of each split, the lists of rejected and suspect images, and last the manifest; return it.

    described: what the manifest says of the source. records: of all tasks, by the shard's file name. parent: the
    dataset to which the shards are appended; its rows, lines and shards come first.
    """
    by_split = {split: [records[task.name] for task in tasks if task.split == split] for split in source.splits}
    rejected = {
        split: list_rejects(source, split, [record.rejected for record in found]) for split, found in by_split.items()
    }
    suspect = {
        split: [line for record in found for line in record.suspect]
        for split, found in by_split.items()
        if any(record.suspect for record in found)
    }
    found_out: dict[str, Any] = {"notes": list(source.notes)} if source.notes else {}
    if suspect:
        found_out["suspect"] = {split: len(lines) for split, lines in suspect.items()}
    lists = {REJECTED: to_lines(rejected.values()), SUSPECT: to_lines(suspect.values())}
    if parent is not None:
        lists = {REJECTED: parent.rejected + lists[REJECTED], SUSPECT: parent.suspect + lists[SUSPECT]}
    files = {name: content for name, content in lists.items() if content or name == REJECTED}
    classes = len(source.classes)
    earlier = {} if parent is None else parent.splits
    splits = {
        split: _finish_split(output, split, found, rejected[split], classes, settings.schema, earlier.get(split))
        for split, found in by_split.items()
    }
    if parent is None:
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
    before = parent.manifest
    for known in before.appended:
        with output.reading(parent_name(known.parent), MAX_JSON) as path:
            files[path.name] = path.read_bytes()
    files[parent_name(before.fingerprint)] = parent.data
    appended = Appended(before.fingerprint, {**described, **found_out}, settings.made_with())
    splits = before.splits | splits
    return save_dataset(
        output,
        replace(before, splits=splits, image_size=common_side(splits.values()), appended=(*before.appended, appended)),
        files,
    )


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


def list_rejects(source: Source, split: str, of_shards: Iterable[Sequence[dict[str, str]]]) -> list[dict[str, str]]:
    """Return the images of a split that were left out: of the listing, then those that shard after shard rejected."""
    of_listing = (left._asdict() for left in source.left_out if left.split == split)
    return [*of_listing, *itertools.chain.from_iterable(of_shards)]


def to_lines(lists: Iterable[list[dict[str, str]]]) -> bytes:
    """Return the lines of `rejected.jsonl` or `suspect.jsonl`. lists: of each split."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in itertools.chain.from_iterable(lists))


def samples_table(shards: Iterable[Sequence[WrittenSample]], schema: int) -> npt.NDArray[np.void]:
    """Return the samples table of a split's shards: dtype `SAMPLE`, or that of schema 1."""
    rows = [
        (shard, sample.offset, sample.length, sample.label, sample.crc32, sample.height, sample.width)
        for shard, samples in enumerate(shards)
        for sample in samples
    ]
    table = np.array(rows, dtype=SAMPLE)
    return table if schema > 1 else to_schema_1(table)


def metadata_of(shards: Iterable[Sequence[WrittenSample]]) -> npt.NDArray[np.void]:
    """Return the table of the `.json` of a split's samples: dtype `METADATA`."""
    rows = [(sample.metadata_offset, sample.metadata_length) for samples in shards for sample in samples]
    return np.array(rows, dtype=METADATA)


def sources_text(paths: Iterable[str]) -> bytes:
    """Return the list of the source paths of a split's samples."""
    return "".join(f"{path}\n" for path in paths).encode(errors="surrogateescape")


def _finish_split(
    output: Output,
    split: str,
    records: list[ShardRecord],
    rejected: list[dict[str, str]],
    classes: int,
    schema: int,
    earlier: Earlier | None,
) -> SplitInfo:
    """Write a split's samples table, list of sources and table of metadata; delete shards without samples."""
    kept = [record for record in records if record.samples]
    if not kept:
        raise FreelightError(f"no image of the split {split!r} can be decoded; the last one rejected: {rejected[-1]}")
    for record in records:
        if not record.samples:
            output.remove(record.name)
            output.remove(record.index_name)
    shards = [record.samples for record in kept]
    table, metadata = samples_table(shards, schema), metadata_of(shards)
    sources = [sources_text(sample.path for samples in shards for sample in samples)]
    kinds = Counter(sample.kind for samples in shards for sample in samples)
    infos = tuple(ShardInfo(record.name, len(record.samples), record.bytes, record.sha256) for record in kept)
    files = {record.index_name: record.index_sha256 for record in kept}
    left_out = len(rejected)
    if earlier is not None:
        table["shard"] += len(earlier.info.shards)
        table, metadata = np.concatenate([earlier.samples, table]), np.concatenate([earlier.metadata, metadata])
        sources.insert(0, earlier.sources)
        kinds += Counter(earlier.info.kinds)
        infos = earlier.info.shards + infos
        files = {name: sha256 for name, sha256 in earlier.info.files.items() if name.endswith(".idx")} | files
        left_out += earlier.info.rejected
    files |= save_tables(output, split, table, metadata, sources)
    return SplitInfo(
        samples=len(table),
        labelled=bool((table["label"] >= 0).all()),
        rejected=left_out,
        per_class=count_per_class(table["label"], classes),
        kinds=dict(sorted(kinds.items())),
        shards=infos,
        files=files,
        sizes=summarize_sizes(table) if schema > 1 else None,
    )
