"""The dataset directory: manifest, samples, shard format, cache for remote shards, verification."""

from .directory import Dataset
from .manifest import (
    MANIFEST,
    REJECTED,
    SAMPLE,
    SUSPECT,
    Manifest,
    ShardInfo,
    SplitInfo,
    index_name,
    samples_name,
    shard_name,
    sources_name,
)
from .split import Split
from .tarfiles import TarWriter, label_text
from .verify import ShardCheck, verify_dataset

__all__ = [
    "MANIFEST",
    "REJECTED",
    "SAMPLE",
    "SUSPECT",
    "Dataset",
    "Manifest",
    "ShardCheck",
    "ShardInfo",
    "Split",
    "SplitInfo",
    "TarWriter",
    "index_name",
    "label_text",
    "samples_name",
    "shard_name",
    "sources_name",
    "verify_dataset",
]
