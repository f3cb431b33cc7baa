"""Offline: images in a known layout -> a dataset directory of WebDataset shards, and its statistics."""

from .computing import compute_statistics, write_statistics
from .dataset import Dataset, Manifest, Split
from .errors import FreelightError
from .making import ShardSettings, make_shards
from .moments import RGBMoments
from .rescale import Rescaling, rescale_file
from .shard import ShardRecord
from .sources import Source, list_folders
from .statistics import Statistics

__all__ = [
    "Dataset",
    "FreelightError",
    "Manifest",
    "RGBMoments",
    "Rescaling",
    "ShardRecord",
    "ShardSettings",
    "Source",
    "Split",
    "Statistics",
    "compute_statistics",
    "list_folders",
    "make_shards",
    "rescale_file",
    "write_statistics",
]
