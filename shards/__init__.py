"""Offline: images in a known layout -> a dataset directory of WebDataset shards, and its statistics."""

from typing import TYPE_CHECKING, Any

from . import statistics
from .base import FreelightError
from .dataset import Dataset, Manifest, Mixture, ShardCheck, Split, open_dataset, verify_dataset
from .images import Rescaling, rescale_file
from .indexing import TarSource, index_shards, list_tars, summarize_tars
from .layouts import Layout, list_images
from .sources import OrderedSource, Source
from .statistics import Statistics
from .writing import (
    ShardRecord,
    ShardSettings,
    append_shards,
    dataset_figures,
    make_shards,
    repair_dataset,
    summarize_dataset,
    summarize_source,
)

if TYPE_CHECKING:
    from .statistics import RGBMoments, compute_statistics, write_statistics

__all__ = [
    "Dataset",
    "FreelightError",
    "Layout",
    "Manifest",
    "Mixture",
    "OrderedSource",
    "RGBMoments",
    "Rescaling",
    "ShardCheck",
    "ShardRecord",
    "ShardSettings",
    "Source",
    "Split",
    "Statistics",
    "TarSource",
    "append_shards",
    "compute_statistics",
    "dataset_figures",
    "index_shards",
    "list_images",
    "list_tars",
    "make_shards",
    "open_dataset",
    "repair_dataset",
    "rescale_file",
    "summarize_dataset",
    "summarize_source",
    "summarize_tars",
    "verify_dataset",
    "write_statistics",
]


def __getattr__(name: str) -> Any:
    """Pass on the names that `statistics` imports on first use."""
    if name in __all__:
        return getattr(statistics, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
