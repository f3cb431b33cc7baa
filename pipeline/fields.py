"""The numeric fields of a batch: a tensor by sample and field; boxes follow the crop and its flip."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..shards import FreelightError, Split
from .mix import Mix
from .ops import Arrays, Crop
from .transform import Transform
from .views import Views


class FieldReader:
    """Read the fields of a split for batches. Raises `FreelightError` if it has none."""

    def __init__(self, split: Split) -> None:
        if not split.info.fields:
            raise FreelightError(
                f"{split.folder} has no fields of {split.name} for `extras`; omit them there, or make the dataset "
                "with: freelight index-shards --out DATASET --split SPLIT=TARS --field NAME=PLACE"
            )
        self._fields = split.fields
        self._sizes = split.sizes
        self._have_boxes = any(field.is_boxes for field in self._fields.values())

    def check(self, transforms: Iterable[Transform | Views], mix: Mix | None) -> None:
        """Raise `FreelightError` if the split has boxes that cannot follow a transform or `mix`."""
        if self._have_boxes and mix is not None and mix.blends:
            raise FreelightError("boxes do not follow `mix`; take it out, or omit 'fields' from `extras`")
        for transform in transforms if self._have_boxes else ():
            if isinstance(transform, Views):
                raise FreelightError("boxes follow one view, not Views; omit 'fields' from `extras`")
            if transform.views > 1:
                raise FreelightError(
                    f"boxes follow a crop of one view, but {type(transform.crop).__name__} has {transform.views}; use "
                    "another crop, or omit 'fields' from `extras`"
                )
            if moving := [op.name for op in transform.ops if op.moves_pixels]:
                raise FreelightError(
                    f"boxes do not follow the op {moving[0]!r}; take it out, or omit 'fields' from `extras`"
                )

    def read(
        self,
        samples: npt.NDArray[np.int32],
        crop: Crop,
        chosen: Arrays,
        to_device: Callable[[npt.NDArray[Any]], torch.Tensor],
    ) -> list[dict[str, torch.Tensor]]:
        """Return the fields of each sample, by name. chosen: rows of `Transform.choose`, of its crop and flip."""
        found: list[dict[str, torch.Tensor]] = [{} for _ in samples]
        for name, field in self._fields.items():
            values, counts = field.of(samples)
            if field.is_boxes:
                corners, scales = crop.placement(chosen, self._sizes[samples])
                flips = chosen.get("flip", np.zeros(len(samples), np.int32))
                values = follow_crop(
                    values,
                    corners.repeat(counts, axis=0),
                    scales.repeat(counts, axis=0),
                    flips.repeat(counts),
                    size=crop.size,
                )
            for own, rows in zip(found, torch.split_with_sizes(to_device(values), counts.tolist()), strict=True):
                own[name] = rows
        return found


def follow_crop(
    boxes: npt.NDArray[np.float32],
    corners: npt.NDArray[np.float64],
    scales: npt.NDArray[np.float64],
    flips: npt.NDArray[np.int32],
    *,
    size: int,
) -> npt.NDArray[np.float32]:
    """Return boxes (n, 4) of pictures in pixels of their crops, clipped to 0..`size`; x1, y1, x2, y2 before and after.

    corners, scales: of each box's crop, as of `Crop.placement`. flips: 1 where the crop is flipped left to right. A box
    outside the crop has no area after it: x1 = x2 or y1 = y2, at the edge.
    """
    corner, scale = (np.tile(values[:, ::-1], 2) for values in (corners, scales))
    placed = ((boxes - corner) / scale).clip(0, size)
    flipped = flips == 1
    placed[flipped, 0::2] = size - placed[flipped, 2::-2]
    return placed.astype(np.float32)
