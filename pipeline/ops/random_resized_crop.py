"""Random resized crops: a window of drawn area and shape, scaled to a square (Inception, torchvision)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn, types
from PIL import Image

from ...shards import FreelightError
from ..draws import EpochDraws
from .context import Context, GraphContext
from .crop import Crop, View, Window
from .op import Arrays, Feed

TRIES = 10  # as torchvision's


@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(Crop):
    """A window of random area and shape, scaled to a square: the augmentation of Inception, sampled as torchvision's.

    scale: the window's share of the image's area, uniformly distributed. ratio: width / height, log-uniformly
    distributed. A window that does not fit is drawn again, up to ten times; after that the whole image is used. Pixels
    differ from torchvision's by at most one grey level, except the outermost ones of a window that is shrunk: there
    DALI repeats the window's edge. The difference is visible in crops that are much smaller than their windows.
    """

    allows_mean_image: ClassVar[bool] = False

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise FreelightError(f"transform: `scale` (={self.scale}) must be 0 < smallest <= largest <= 1")
        if not 0 < self.ratio[0] <= 1 <= self.ratio[1]:
            raise FreelightError(f"transform: `ratio` (={self.ratio}) must be 0 < smallest <= 1 <= largest")

    def check_fits(self, image_size: int) -> None:
        """Accept images of any size: a window is scaled to the crop."""

    def windows(self, draws: EpochDraws, image_size: int) -> npt.NDArray[np.int32]:
        """Return the windows of all samples: (n, 4) top, left, height, width, pixels.

        Area and shape come from a separate random stream, keyed by (seed, epoch, 1); the place is `draws.crop`.
        """
        generator = np.random.Generator(np.random.Philox((draws.seed, draws.epoch, 1)))
        sides = np.full((len(draws.crop), 2), image_size, np.int32)
        unfitted = np.arange(len(sides))
        for _ in range(TRIES):
            area = image_size**2 * generator.uniform(*self.scale, len(unfitted))
            shape = np.exp(generator.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), len(unfitted)))
            drawn = np.rint(np.sqrt(np.stack([area / shape, area * shape], axis=1))).astype(np.int32)
            fits = ((drawn > 0) & (drawn <= image_size)).all(axis=1)
            sides[unfitted[fits]] = drawn[fits]
            unfitted = unfitted[~fits]
        offsets = (draws.crop * (image_size - sides + 1)).astype(np.int32)
        return np.concatenate([offsets, sides], axis=1)

    def feeds(self) -> dict[str, Feed]:
        """Return the types of the window: start (top, left) and shape (height, width), pixels."""
        return {"start": Feed("int32", 1), "shape": Feed("int32", 1)}

    def choose(self, draws: EpochDraws, context: Context) -> Arrays:
        """Return the windows."""
        windows = self.windows(draws, context.image_size)
        return {"start": windows[:, :2].copy(), "shape": windows[:, 2:].copy()}

    def nodes(self, jpeg: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Decode the window only, then scale it."""
        image = fn.decoders.image_slice(jpeg, fed["start"], fed["shape"], axis_names="HW", **context.decoding)
        image = fn.resize(image, size=[self.size, self.size], interp_type=types.INTERP_LINEAR, antialias=True)
        return [View(image, fed["flip"], {}, window=None, is_cut=True)]

    def reference(
        self, image: npt.NDArray[np.uint8], draws: EpochDraws, sample: int
    ) -> list[tuple[npt.NDArray[np.uint8], Window]]:
        """Cut and scale the sample's window as torchvision does with Pillow: bilinear, antialiased when shrinking."""
        top, left, height, width = self.windows(draws, image.shape[0])[sample].tolist()
        piece = Image.fromarray(image[top : top + height, left : left + width])
        scaled = np.asarray(piece.resize((self.size, self.size), Image.Resampling.BILINEAR))
        return [(scaled, Window(0, 0, False))]
