"""Random resized crops: a window of drawn area and shape, scaled to a square (Inception, torchvision)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError
from ..draws import EpochDraws
from .context import GraphContext
from .crop import Crop, View, Window
from .op import Arrays, Feed
from .resizing import Sizes, filters, resize_node, resize_picture

TRIES = 10  # as torchvision's


@dataclass(frozen=True, kw_only=True, repr=False)
class RandomResizedCrop(Crop):
    """A window of random area and shape, scaled to a square: the augmentation of Inception, sampled as torchvision's.

    scale: the window's share of the image's area, uniformly distributed. ratio: width / height, log-uniformly
    distributed. A window that does not fit is drawn again, up to ten times; after that it is the largest central one of
    allowed shape. Pixels differ from torchvision's by at most one grey level, except on a GPU at the edge of a picture
    that is shrunk.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise FreelightError(f"transform: `scale` (={self.scale}) must be 0 < smallest <= largest <= 1")
        if not 0 < self.ratio[0] <= 1 <= self.ratio[1]:
            raise FreelightError(f"transform: `ratio` (={self.ratio}) must be 0 < smallest <= 1 <= largest")

    @property
    def resizes(self) -> bool:
        """Windows of any size are scaled to the crop."""
        return True

    def windows(self, draws: EpochDraws, sizes: Sizes) -> npt.NDArray[np.int32]:
        """Return the windows of all samples: (n, 4) top, left, height, width, pixels.

        Area and shape come from a separate random stream, number 1 of the draws; the place is `draws.crop`. Only
        windows that did not fit take further numbers from the stream, so a window depends on the sizes of all samples.
        """
        generator = draws.generator(1)
        stored = np.broadcast_to(np.asarray(sizes, np.int32), (len(draws.crop), 2))  # without a copy
        sides = np.zeros(stored.shape, np.int32)
        unfitted = np.arange(len(sides))
        for _ in range(TRIES):
            area = stored[unfitted].prod(axis=1, dtype=np.int64) * generator.uniform(*self.scale, len(unfitted))
            shape = np.exp(generator.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), len(unfitted)))
            exact = np.empty((len(unfitted), 2))  # filled in place: 20 MB of an epoch
            np.divide(area, shape, out=exact[:, 0])
            np.multiply(area, shape, out=exact[:, 1])
            drawn = np.rint(np.sqrt(exact, out=exact), out=exact).astype(np.int32)
            del exact, area, shape
            fits = ((drawn > 0) & (drawn <= stored[unfitted])).all(axis=1)
            sides[unfitted[fits]] = drawn[fits]
            unfitted = unfitted[~fits]
        offsets = np.empty_like(sides)
        for axis in range(2):  # one by one, which takes half the memory
            offsets[:, axis] = draws.crop[:, axis] * (stored[:, axis] - sides[:, axis] + 1)
        height, width = stored[unfitted].T
        sides[unfitted] = np.stack(
            [np.minimum(height, np.rint(width / self.ratio[0])), np.minimum(width, np.rint(height * self.ratio[1]))],
            axis=1,
        )
        offsets[unfitted] = (stored[unfitted] - sides[unfitted]) // 2
        return np.concatenate([offsets, sides], axis=1)

    def feeds(self) -> dict[str, Feed]:
        """Return the types of the window: start (top, left) and shape (height, width), pixels; and of the filter."""
        return {"start": Feed("int32", 1), "shape": Feed("int32", 1), **self.filter_feeds()}

    def choose(self, draws: EpochDraws, sizes: Sizes) -> Arrays:
        """Return the windows and filters."""
        windows = self.windows(draws, sizes)
        return {"start": windows[:, :2].copy(), "shape": windows[:, 2:].copy(), **self.choose_filters(draws)}

    def needed(
        self, chosen: Arrays, sizes: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the windows."""
        return chosen["start"], chosen["shape"]

    def placement(
        self, chosen: Arrays, sizes: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return corners and scales."""
        return chosen["start"].astype(np.float64), chosen["shape"] / self.size

    def decoded(self, jpeg: Any, fed: dict[str, Any], context: GraphContext) -> Any:
        """Decode the window only."""
        return context.decoded_slice(jpeg, fed["start"], fed["shape"])

    def resized(self, image: Any, fed: dict[str, Any]) -> Any:
        """Scale the window."""
        return resize_node(image, self.interpolation, fed.get("filter"), size=[self.size, self.size])

    def cut_views(self, image: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Return the one view."""
        return [View(image, fed["flip"], {}, window=None, is_cut=True)]

    def reference(
        self, image: npt.NDArray[np.uint8], draws: EpochDraws, sample: int, sizes: Sizes
    ) -> list[tuple[npt.NDArray[np.uint8], Window]]:
        """Cut and scale the sample's window as torchvision does with Pillow."""
        top, left, height, width = self.windows(draws, sizes)[sample].tolist()
        piece = image[top : top + height, left : left + width]
        filter_ = int(filters(self.interpolation, draws)[sample])
        return [(resize_picture(piece, self.size, self.size, filter_), Window(0, 0, False))]
