"""The fixed views of evaluation: the central crop, and the paper's ten crops. Nothing is drawn."""

import abc
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError
from ..draws import EpochDraws
from .context import GraphContext
from .crop import View, Window
from .op import Arrays, Feed
from .placed_crop import PlacedCrop
from .resizing import Sizes, resize_node

START, MIDDLE, END = 0.0, 0.5, 1.0
"""Places of a crop on an axis, as shares of the largest offset."""


@dataclass(frozen=True, kw_only=True, repr=False)
class FixedViews(PlacedCrop):
    """Views at the same places of every image; each image is decoded once."""

    is_random: ClassVar[bool] = False

    @abc.abstractmethod
    def places(self) -> list[tuple[float, float, bool]]:
        """Return the views in order: places of top and left, and whether the view is flipped."""

    def fixed_windows(self, sizes: Sizes) -> list[Window]:
        """Return the windows in a square of this side, or in the one picture of these sizes (1, 2), in order."""
        (spans,), (middles,) = self.spans(sizes).tolist(), self.middles(sizes).tolist()
        at = [{START: 0, MIDDLE: middle, END: span} for span, middle in zip(spans, middles, strict=True)]
        return [Window(at[0][top], at[1][left], flip) for top, left, flip in self.places()]

    def offsets(self, draws: EpochDraws, sizes: Sizes) -> npt.NDArray[np.int32]:
        """Return top and left of the central crop of all samples: (n, 2), pixels."""
        return np.broadcast_to(self.middles(sizes), draws.crop.shape).astype(np.int32)

    def decoded(self, jpeg: Any, fed: dict[str, Any], context: GraphContext) -> Any:
        """Decode the whole image."""
        return context.decoded(jpeg)

    def cut_views(self, image: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Return the views; each is cut and flipped by one kernel."""
        side = None if self.resizes else context.image_size
        windows = [None] * self.views if side is None else self.fixed_windows(side)
        views = []
        for (top, left, flip), window in zip(self.places(), windows, strict=True):
            # Half of an odd offset is rounded down.
            place = {"crop": (self.size, self.size), "rounding": "truncate", "crop_pos_y": top, "crop_pos_x": left}
            views.append(View(image, int(flip), place, window, is_cut=False))
        return views

    def reference(
        self, image: npt.NDArray[np.uint8], draws: EpochDraws, sample: int, sizes: Sizes
    ) -> list[tuple[npt.NDArray[np.uint8], Window]]:
        """Cut every window out of one decoded picture (H, W, 3)."""
        picture = self.placed_picture(image, draws, sample)
        windows = self.fixed_windows(np.array([image.shape[:2]], np.int32))
        return [(self.cut(picture, window), window) for window in windows]


@dataclass(frozen=True, kw_only=True, repr=False)
class CenterCrop(FixedViews):
    """The central square.

    resize: first resize the shorter side to this many pixels; by default the picture's own pixels are cut. crop_pct:
    the crop's share of the resized shorter side, in place of `resize`, which is then floor(size / crop_pct) (timm).
    """

    crop_pct: float | None = None

    def __post_init__(self) -> None:
        if self.crop_pct is not None:
            if self.resize is not None:
                raise FreelightError("transform: give `resize` or `crop_pct`, not both")
            if not isinstance(self.crop_pct, int | float) or not 0 < self.crop_pct <= 1:
                raise FreelightError(f"transform: `crop_pct` (={self.crop_pct}) must lie in 0..1, without 0")
        super().__post_init__()

    @property
    def shorter_side(self) -> int | None:
        """The shorter side that pictures are resized to, or None."""
        return self.resize if self.crop_pct is None else math.floor(self.size / self.crop_pct)

    def places(self) -> list[tuple[float, float, bool]]:
        """Return the one place."""
        return [(MIDDLE, MIDDLE, False)]

    def chosen_offsets(self, chosen: Arrays, sizes: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
        """Return top and left of the crops of some samples."""
        return super().chosen_offsets(chosen, sizes) if self.resizes else self.middles(sizes)

    def decoded(self, jpeg: Any, fed: dict[str, Any], context: GraphContext) -> Any:
        """Decode the piece of a resized crop, else the whole image."""
        return (PlacedCrop if self.resizes else FixedViews).decoded(self, jpeg, fed, context)

    def cut_views(self, image: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Return the one view."""
        if self.resizes:
            return [View(image, 0, {}, window=None, is_cut=True)]
        return super().cut_views(image, fed, context)


@dataclass(frozen=True, kw_only=True, repr=False)
class TenCrop(FixedViews):
    """The four corners and the centre, then their reflections (paper section 4.1).

    resize: first resize the shorter side to this many pixels; by default the picture's own pixels are cut.
    """

    views: ClassVar[int] = 10

    def places(self) -> list[tuple[float, float, bool]]:
        """Return the ten places, in order."""
        corners = ((START, START), (START, END), (MIDDLE, MIDDLE), (END, START), (END, END))
        return [(top, left, flip) for flip in (False, True) for top, left in corners]

    def feeds(self) -> dict[str, Feed]:
        """Return the types of a resized crop's arguments: the resized size, and the middle's place on each axis."""
        if not self.resizes:
            return {}
        return {
            "resized": Feed("float32", 1),
            "middle_y": Feed("float32"),
            "middle_x": Feed("float32"),
            **self.filter_feeds(),
        }

    def choose(self, draws: EpochDraws, sizes: Sizes) -> Arrays:
        """Return the arguments of a resized crop."""
        if not self.resizes:
            return {}
        # A third of a pixel more, so that `truncate` gives the middle itself.
        middles = (self.offsets(draws, sizes) + np.float32(1 / 3)) / np.maximum(1, self.spans(sizes))
        middles = middles.clip(0, 1).astype(np.float32)
        return {
            "resized": np.broadcast_to(self.placed_sizes(sizes), draws.crop.shape).astype(np.float32),
            "middle_y": middles[:, 0].copy(),
            "middle_x": middles[:, 1].copy(),
            **self.choose_filters(draws),
        }

    def needed(
        self, chosen: Arrays, sizes: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the whole pictures."""
        return np.zeros_like(sizes), sizes

    def resized(self, image: Any, fed: dict[str, Any]) -> Any:
        """Resize the whole picture."""
        return resize_node(image, self.interpolation, fed.get("filter"), size=fed["resized"])

    def cut_views(self, image: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Return the views; after `resize` the middle is a place of its own in each image."""
        views = super().cut_views(image, fed, context)
        if self.resizes:
            for view in views[2::5]:
                view.place.update(crop_pos_y=fed["middle_y"], crop_pos_x=fed["middle_x"])
        return views
