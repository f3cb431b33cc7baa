"""The mean image, the RGB moments and their eigenbasis."""

from .published import comparison_table, constants_snippet
from .statistics import STATISTICS, Statistics

__all__ = [
    "STATISTICS",
    "Statistics",
    "comparison_table",
    "constants_snippet",
]
