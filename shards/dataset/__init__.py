"""The dataset directory: manifest, samples, shard format, cache for remote shards, verification."""

from .directory import Dataset
from .joined import JoinedSplit
from .manifest import (
    MANIFEST,
    METADATA,
    REJECTED,
    SAMPLE,
    SCHEMA,
    SUSPECT,
    Appended,
    FieldInfo,
    Manifest,
    ShardInfo,
    SplitInfo,
    index_name,
    metadata_name,
    offsets_name,
    parent_name,
    samples_name,
    shard_name,
    sources_name,
    values_name,
    with_own_hash,
)
from .mixture import Mixture
from .opening import open_dataset
from .presence import check_presence, sizes_in
from .schema import BOX, BOXES, DTYPES, MAX_DIMENSIONS, MAX_ROW, NUMBERS, is_base, is_field_name
from .sizes import common_side, summarize_sizes
from .split import Split
from .tables import MAX_METADATA, index_line, read_keys, to_schema_1
from .tarfiles import TarWriter, label_text
from .verify import ShardCheck, verify_dataset

__all__ = [
    "BOX",
    "BOXES",
    "DTYPES",
    "MANIFEST",
    "MAX_DIMENSIONS",
    "MAX_METADATA",
    "MAX_ROW",
    "METADATA",
    "NUMBERS",
    "REJECTED",
    "SAMPLE",
    "SCHEMA",
    "SUSPECT",
    "Appended",
    "Dataset",
    "FieldInfo",
    "JoinedSplit",
    "Manifest",
    "Mixture",
    "ShardCheck",
    "ShardInfo",
    "Split",
    "SplitInfo",
    "TarWriter",
    "check_presence",
    "common_side",
    "index_line",
    "index_name",
    "is_base",
    "is_field_name",
    "label_text",
    "metadata_name",
    "offsets_name",
    "open_dataset",
    "parent_name",
    "read_keys",
    "samples_name",
    "shard_name",
    "sizes_in",
    "sources_name",
    "summarize_sizes",
    "to_schema_1",
    "values_name",
    "verify_dataset",
    "with_own_hash",
]
