"""Write a dataset directory: plan, deal, write each shard, then the manifest."""

from .dealing import ShardTask, deal_shards
from .finishing import save_dataset, save_tables
from .growing import append_shards
from .making import make_shards
from .output import Output
from .plan import PARTIAL, PLAN, describe_changes, lock_output
from .rejects import RejectLimit
from .repairing import repair_dataset
from .settings import ShardSettings
from .shard import ShardRecord
from .summary import count_per_class, dataset_figures, summarize_dataset, summarize_source

__all__ = [
    "PARTIAL",
    "PLAN",
    "Output",
    "RejectLimit",
    "ShardRecord",
    "ShardSettings",
    "ShardTask",
    "append_shards",
    "count_per_class",
    "dataset_figures",
    "deal_shards",
    "describe_changes",
    "lock_output",
    "make_shards",
    "repair_dataset",
    "save_dataset",
    "save_tables",
    "summarize_dataset",
    "summarize_source",
]
