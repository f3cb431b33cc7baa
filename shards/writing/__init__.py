"""Write a dataset directory: plan, deal, write each shard, then the manifest."""

from .dealing import ShardTask, deal_shards
from .making import make_shards
from .settings import ShardSettings
from .shard import ShardRecord
from .summary import summarize_dataset, summarize_source

__all__ = [
    "ShardRecord",
    "ShardSettings",
    "ShardTask",
    "deal_shards",
    "make_shards",
    "summarize_dataset",
    "summarize_source",
]
