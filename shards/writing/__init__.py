"""Write a dataset directory: plan, deal, write each shard, then the manifest."""

from .dealing import ShardTask, deal_shards
from .descriptions import INFO, describe_dataset
from .making import make_shards
from .plan import PARTIAL, PLAN, describe_changes, lock_output
from .rejects import RejectLimit
from .settings import ShardSettings
from .shard import ShardRecord
from .summary import count_per_class, summarize_dataset, summarize_source

__all__ = [
    "INFO",
    "PARTIAL",
    "PLAN",
    "RejectLimit",
    "ShardRecord",
    "ShardSettings",
    "ShardTask",
    "count_per_class",
    "deal_shards",
    "describe_changes",
    "describe_dataset",
    "lock_output",
    "make_shards",
    "summarize_dataset",
    "summarize_source",
]
