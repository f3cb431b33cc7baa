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

    The kernel ends at four times the largest sigma, and the image is reflected at its border, as in torchvision.
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

    def sigmas(self, drawn: Arrays) -> npt.NDArray[np.float32]:
        """Return sigma of each occurrence: (n,), pixels."""
        low, high = self.sigma
        sigmas: npt.NDArray[np.float32] = np.float32(low) + np.float32(high - low) * drawn["place"]
        return sigmas

    def describe(self, drawn: Arrays, context: Context) -> str:
        """Give sigma."""
        return f"sigma {self.sigmas(drawn)[0]:.2f}"

    def choose(self, drawn: Arrays, context: Context) -> Arrays:
        """Return one axis of the kernel: (n, width). Where nothing is to change, only its middle is not 0."""
        radius = math.ceil(4 * self.sigma[1])
        places = np.arange(-radius, radius + 1, dtype=np.float32)
        kernel = np.exp(-0.5 * (places / self.sigmas(drawn)[:, None]) ** 2)
        kernel /= kernel.sum(axis=1, keepdims=True)
        kernel[~self.is_changed(drawn)] = places == 0
        return {"kernel": kernel}

    def feeds(self) -> dict[str, Feed]:
        """Return the type of the kernel's axis."""
        return {"kernel": Feed("float32", 1)}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        """Blur along each axis, in bytes. `fn.gaussian_blur` takes five times as long on a CPU."""
        kernel = context.on_device(fed["kernel"])
        for shape in ((1, -1), (-1, 1)):
            image = fn.filter(image, fn.reshape(kernel, shape=shape))
        return image

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        """Do the same in numpy."""
        kernel = chosen["kernel"]
        radius = len(kernel) // 2
        for axis in (1, 0):
            padded = np.pad(image, [(radius, radius) if axis == a else (0, 0) for a in range(3)], mode="reflect")
            image = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=axis) @ kernel
            image = np.rint(image).astype(np.uint8)
        return image
