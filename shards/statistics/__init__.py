"""A split's statistics: exact sums over pixels, mean image, eigenbasis, and the file that holds them."""

from typing import TYPE_CHECKING, Any

from .published import PUBLISHED_AXES, PUBLISHED_MEAN, PUBLISHED_ROOTS, comparison_table, constants_snippet
from .statistics import STATISTICS, TRAINING_SPLIT, Statistics

if TYPE_CHECKING:
    from .computing import compute_statistics, write_statistics
    from .moments import RGBMoments, fit_eigenbasis

__all__ = [
    "PUBLISHED_AXES",
    "PUBLISHED_MEAN",
    "PUBLISHED_ROOTS",
    "STATISTICS",
    "TRAINING_SPLIT",
    "RGBMoments",
    "Statistics",
    "comparison_table",
    "compute_statistics",
    "constants_snippet",
    "fit_eigenbasis",
    "write_statistics",
]


def __getattr__(name: str) -> Any:
    """Import what needs scikit-learn on first use: it takes longer to import than the rest of the package."""
    if name in ("compute_statistics", "write_statistics"):
        from . import computing

        return getattr(computing, name)
    if name in ("RGBMoments", "fit_eigenbasis"):
        from . import moments

        return getattr(moments, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
