"""The dataset directory: manifest, samples, shard format, cache for remote shards, verification."""

from .directory import Dataset
from .manifest import (
    MANIFEST,
    METADATA,
    REJECTED,
    SAMPLE,
    SCHEMA,
    SUSPECT,
    Manifest,
    ShardInfo,
    SplitInfo,
    index_name,
    metadata_name,
    samples_name,
    shard_name,
    sources_name,
)
from .schema import is_base
from .sizes import common_side, summarize_sizes
from .split import Split
from .tables import MAX_METADATA, index_line, read_keys, to_schema_1
from .tarfiles import TarWriter, label_text
from .verify import ShardCheck, verify_dataset

__all__ = [
    "MANIFEST",
    "MAX_METADATA",
    "METADATA",
    "REJECTED",
    "SAMPLE",
    "SCHEMA",
    "SUSPECT",
    "Dataset",
    "Manifest",
    "ShardCheck",
    "ShardInfo",
    "Split",
    "SplitInfo",
    "TarWriter",
    "common_side",
    "index_line",
    "index_name",
    "is_base",
    "label_text",
    "metadata_name",
    "read_keys",
    "samples_name",
    "shard_name",
    "sources_name",
    "summarize_sizes",
    "to_schema_1",
    "verify_dataset",
]
