"""Offline: images in a known layout -> a dataset directory of WebDataset shards, and its statistics."""

from .base.errors import FreelightError
from .dataset.directory import Dataset, Manifest, Split
from .dataset.verify import ShardCheck, verify_dataset
from .images.rescaling import Rescaling, rescale_file
from .layouts import list_images
from .sources.listing import Source
from .sources.ordered import OrderedSource
from .statistics.computing import compute_statistics, write_statistics
from .statistics.moments import RGBMoments
from .statistics.statistics import Statistics
from .writing.making import make_shards
from .writing.settings import ShardSettings
from .writing.shard import ShardRecord
from .writing.summary import summarize, survey

__all__ = [
    "Dataset",
    "FreelightError",
    "Manifest",
    "OrderedSource",
    "RGBMoments",
    "Rescaling",
    "ShardCheck",
    "ShardRecord",
    "ShardSettings",
    "Source",
    "Split",
    "Statistics",
    "compute_statistics",
    "list_images",
    "make_shards",
    "rescale_file",
    "summarize",
    "survey",
    "verify_dataset",
    "write_statistics",
]
