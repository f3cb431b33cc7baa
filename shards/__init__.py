"""Offline: images in a known layout -> a dataset directory of WebDataset shards, and its statistics."""

from importlib import import_module
from typing import TYPE_CHECKING

from .base.errors import FreelightError
from .dataset.directory import Dataset, Manifest, Split
from .dataset.verify import ShardCheck, verify_dataset
from .images.rescaling import Rescaling, rescale_file
from .layouts import list_images
from .sources.listing import Source
from .sources.ordered import OrderedSource
from .writing.making import make_shards
from .writing.settings import ShardSettings
from .writing.shard import ShardRecord
from .writing.summary import summarize, survey

if TYPE_CHECKING:
    from .statistics.computing import compute_statistics, write_statistics
    from .statistics.moments import RGBMoments
    from .statistics.statistics import Statistics
else:
    # scikit-learn, which these need, takes 0.7 s of CPU to import: `make-shards` and its workers do without.
    _STATISTICS = {
        "RGBMoments": "moments",
        "Statistics": "statistics",
        "compute_statistics": "computing",
        "write_statistics": "computing",
    }

    def __getattr__(name: str) -> object:
        """Import a name of `.statistics` when it is first used."""
        if name not in _STATISTICS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".statistics.{_STATISTICS[name]}", __name__), name)


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
