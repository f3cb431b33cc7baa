"""The numeric fields of a split: of each sample an array, all of them in one table, with offsets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base import Array, FreelightError
from .manifest import SplitInfo, offsets_name, values_name
from .schema import BOXES, REMEDY
from .tables import read_listed


@dataclass(frozen=True)
class Field:
    """values: the rows of all samples, (rows, ...). offsets: int64 (samples + 1,); sample i has the rows
    `values[offsets[i] : offsets[i + 1]]`. is_boxes: rows are x1, y1, x2, y2 in pixels of the upright picture.
    """

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    is_boxes: bool

    def of(self, samples: npt.NDArray[np.integer[Any]]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """Return the rows of `samples`, one sample after the other, and the number of rows of each."""
        first = self.offsets[samples]
        counts = self.offsets[samples + 1] - first
        ends = np.cumsum(counts)
        places = np.repeat(first - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)
        return self.values.take(places, axis=0), counts


def read_field(folder: Path, split: str, info: SplitInfo, name: str) -> Field:
    """Read the field `name` of a split.

    Raises `FreelightError` if a file is missing or changed, if its array is not what the manifest says, or if an offset
    lies outside the table.
    """
    known = info.fields[name]
    values = read_listed(folder / values_name(split, name), Array(known.dtype, (known.rows, *known.shape)), info)
    path = folder / offsets_name(split, name)
    offsets = read_listed(path, Array("<u8", (info.samples + 1,)), info)
    if offsets[0] != 0 or offsets[-1] != known.rows or (offsets[1:] < offsets[:-1]).any():
        raise FreelightError(f"{path}: the offsets do not rise from 0 to {known.rows}, the number of rows; {REMEDY}")
    return Field(values, offsets.astype(np.int64), known.kind == BOXES)
