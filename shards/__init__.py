"""Offline: images in a known layout -> a dataset directory of WebDataset shards, and its statistics."""

from .computing import compute_statistics, write_statistics
from .dataset import Dataset, Manifest, Split
from .errors import FreelightError
from .layouts import list_images
from .making import make_shards
from .moments import RGBMoments
from .rescale import Rescaling, rescale_file
from .settings import ShardSettings
from .shard import ShardRecord
from .sources import Source
from .staging import OrderedSource
from .statistics import Statistics
from .summary import summarize, survey
from .verify import ShardCheck, verify_dataset

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
