"""Make a dataset directory over existing WebDataset tars, which are not changed."""

from .indexing import TarSource, index_shards, list_tars
from .summary import summarize_tars
from .tar import TarRecord

__all__ = ["TarRecord", "TarSource", "index_shards", "list_tars", "summarize_tars"]
