"""A share of the images blurred (SimCLR, BYOL, DINO)."""

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


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(RandomOp):
    """Blur with probability `p`; sigma: range of the standard deviation, pixels, uniform.

    The kernel ends at four sigma, and the image is reflected at its border, as in torchvision.
    """

    name = "gaussian blur"
    stage = "pixels"

    p: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.sigma[0] <= self.sigma[1] < math.inf:
            raise FreelightError(f"gaussian blur `sigma` (={self.sigma}) must be a range of positive numbers")

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Draw the chance and the place of sigma in its range."""
        return {**super().draw(generator, count), "place": generator.random(count, dtype=np.float32)}

    def choose(self, drawn: Arrays, context: Context) -> Arrays:
        """Return sigma, and the kernel's width: (n,) each. A kernel of one pixel changes nothing."""
        low, high = self.sigma
        sigma = np.float32(low) + np.float32(high - low) * drawn["place"]
        width = 2 * np.ceil(4 * sigma).astype(np.int32) + 1
        return {"sigma": sigma, "width": np.where(self.is_changed(drawn), width, np.int32(1))}

    def feeds(self) -> dict[str, Feed]:
        """Return the types of sigma and of the kernel's width, pixels."""
        return {"sigma": Feed("float32"), "width": Feed("int32")}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        """Blur along both axes."""
        return fn.gaussian_blur(image, sigma=fed["sigma"], window_size=fed["width"])

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        """Do the same in numpy."""
        radius = int(chosen["width"]) // 2
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / chosen["sigma"]) ** 2)
        kernel /= kernel.sum()
        values = image.astype(np.float64)
        for axis in (0, 1):
            padded = np.pad(values, [(radius, radius) if axis == a else (0, 0) for a in range(3)], mode="reflect")
            values = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=axis) @ kernel
        pixels: npt.NDArray[np.uint8] = np.rint(values).clip(0, 255).astype(np.uint8)
        return pixels
