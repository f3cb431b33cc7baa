"""A random rectangle of a share of the images, filled (Zhong et al., "Random Erasing Data Augmentation", 2017)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn

from ...shards import FreelightError
from .context import Context, GraphContext
from .op import Arrays, Feed
from .random_op import RandomOp

TRIES = 10
"""Rectangles drawn for an image, as in torchvision and timm; if none fits, nothing is erased."""


@dataclass(frozen=True, kw_only=True)
class RandomErasing(RandomOp):
    """Fill a rectangle of the normalized image with probability `p`, as torchvision's RandomErasing.

    scale: range of the rectangle's share of the area, uniform. ratio: range of height / width, log-uniform.
    value: fills the rectangle, in normalized units: a number, or three, R, G, B. 0 is the mean.
    """

    name = "random erasing"
    stage = "normalized"

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float | tuple[float, float, float] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise FreelightError(f"random erasing `scale` (={self.scale}) must be a range in 0..1, above 0")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise FreelightError(f"random erasing `ratio` (={self.ratio}) must be a range of positive numbers")
        if not all(map(math.isfinite, self.fill)):
            raise FreelightError(f"random erasing `value` (={self.value}) must be finite")

    @property
    def fill(self) -> tuple[float, ...]:
        """The value by channel."""
        return self.value if isinstance(self.value, tuple) else (self.value,) * 3

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Draw the chance, area and shape of the rectangles to try, and the place of the one that fits."""
        return {
            **super().draw(generator, count),
            "rectangles": generator.random((count, TRIES, 2), dtype=np.float32),
            "place": generator.random((count, 2), dtype=np.float32),
        }

    def choose(self, drawn: Arrays, context: Context) -> Arrays:
        """Return top and left, height and width of the rectangles, pixels: (n, 2) each; zeros where none is."""
        side = context.crop_size
        low, high = np.log(np.array(self.ratio, np.float32))
        shape = np.zeros((len(drawn["chance"]), 2), np.float32)
        left = np.flatnonzero(self.is_changed(drawn))  # those without a rectangle that fits
        for number in range(TRIES):
            uniform = drawn["rectangles"][left, number]
            length = side * np.sqrt(self.scale[0] + np.float32(self.scale[1] - self.scale[0]) * uniform[:, 0])
            root = np.exp((low + (high - low) * uniform[:, 1]) / 2)
            tried = np.rint(np.stack((length * root, length / root), axis=1))
            fits = (tried < side).all(axis=1)
            shape[left[fits]] = tried[fits]
            left = left[~fits]
        anchor = np.floor(drawn["place"] * (side - shape + 1))
        anchor[shape[:, 0] == 0] = 0
        return {"anchor": anchor, "shape": shape}

    def feeds(self) -> dict[str, Feed]:
        """Return the types of the rectangle's corner and shape."""
        return {"anchor": Feed("float32", 1), "shape": Feed("float32", 1)}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        """Fill the rectangle."""
        return fn.erase(image, axis_names="HW", fill_value=list(self.fill), anchor=fed["anchor"], shape=fed["shape"])

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        """Do the same in numpy."""
        (top, left), (height, width) = chosen["anchor"].astype(int), chosen["shape"].astype(int)
        image = image.copy()
        image[top : top + height, left : left + width] = self.fill
        return image
