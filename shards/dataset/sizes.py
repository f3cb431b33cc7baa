"""The sizes of a split's pictures, as the manifest says them."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .manifest import SplitInfo

SIDES = ("height", "width")


def summarize_sizes(table: npt.NDArray[np.void]) -> dict[str, dict[str, float]]:
    """Return min, median and max of the columns "height" and "width" of a samples table, pixels."""
    return {side: _summarize(table[side]) for side in SIDES}


def _summarize(lengths: npt.NDArray[Any]) -> dict[str, float]:
    return {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())}


def common_side(splits: Iterable[SplitInfo]) -> int | None:
    """Return the side of the pictures, pixels, if those of all splits are squares of one size, else None."""
    found = {split.sizes[side][end] for split in splits if split.sizes for side in SIDES for end in ("min", "max")}
    return int(found.pop()) if len(found) == 1 else None
