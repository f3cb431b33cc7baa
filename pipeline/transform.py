"""What happens to an image between its shard and the network: crop, flip, mean, lighting, scale, in that order.

A transform is described here, with a plain numpy oracle beside it; `graph.py` builds the same in DALI.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..shards import FreelightError, Statistics
from .crops import Crop, RandomCrop, RandomResizedCrop, TenCrop, Window, cut, shared
from .draws import EpochDraws
from .lighting import Lighting

Mean = Literal["image", "center window", "channel", "none"]
DType = Literal["uint8", "float16", "float32"]
RGB = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Choices:
    """What a random transform does to each sample of an epoch; all indexed by sample.

    windows: int32 (n, 4), top, left, height and width, pixels. flips: int32 (n,), 0 or 1. lights: float32 (n, 3), RGB
    shifts in grey levels, or None.
    """

    windows: npt.NDArray[np.int32]
    flips: npt.NDArray[np.int32]
    lights: npt.NDArray[np.float32] | None


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A recipe's preprocessing of one image; all values in 0-255 units, RGB.

    crop: `RandomCrop`, `RandomResizedCrop`, `CenterCrop` or `TenCrop`. flip_probability: of random crops.
    mean: what is subtracted: the mean `image` of the training set, cut and flipped as the image is; its
    `center window`, for every crop alike (the 2012 code); the `channel` means; given channel means; or `none`.
    lighting: of random crops. std: what the channels are divided by at last. dtype: `uint8` means crop and flip only.
    """

    crop: Crop = field(default_factory=RandomCrop)
    flip_probability: float = 0.5
    mean: Mean | RGB = "image"
    lighting: Lighting = field(default_factory=Lighting)
    std: RGB | None = None
    dtype: DType = "float32"

    def __post_init__(self) -> None:
        if isinstance(self.mean, str) and self.mean not in get_args(Mean):
            raise FreelightError(f"transform: mean {self.mean!r} is not one of {', '.join(get_args(Mean))}, nor an RGB")
        if self.dtype not in get_args(DType):
            raise FreelightError(f"transform: dtype {self.dtype!r} is not one of {', '.join(get_args(DType))}")
        if not 0 <= self.flip_probability <= 1:
            raise FreelightError(f"transform: flip_probability (={self.flip_probability}) must lie in 0..1")
        if not isinstance(self.mean, str) and len(self.mean) != 3:
            raise FreelightError(f"transform: mean (={self.mean}) must be three numbers, RGB in 0-255 units")
        if self.std is not None and (len(self.std) != 3 or min(self.std) <= 0):
            raise FreelightError(f"transform: std (={self.std}) must be three positive numbers, RGB in 0-255 units")
        if self.dtype == "uint8" and (self.mean != "none" or self.shifts_light or self.std):
            raise FreelightError("transform: uint8 means crop and flip only; set mean='none', lighting off and no std")
        if isinstance(self.crop, RandomResizedCrop) and self.mean in ("image", "center window"):
            raise FreelightError("transform: a mean image does not fit resized crops; set mean='channel', or an RGB")

    @property
    def is_random(self) -> bool:
        """Whether crop and flip are drawn anew each epoch."""
        return isinstance(self.crop, RandomCrop | RandomResizedCrop)

    @property
    def views(self) -> int:
        """How many views of each image come out."""
        return 10 if isinstance(self.crop, TenCrop) else 1

    @property
    def shifts_light(self) -> bool:
        """Whether an image's lighting is changed."""
        return self.is_random and self.lighting.mode != "off"

    @property
    def divisors(self) -> RGB | None:
        """What the channels are divided by at last: std, and the lighting's divisor where the light is changed."""
        divisor = self.lighting.divisor if self.shifts_light else 1.0
        if self.std is None and divisor == 1:
            return None
        red, green, blue = self.std or (1.0, 1.0, 1.0)
        return red * divisor, green * divisor, blue * divisor

    @property
    def needs_statistics(self) -> bool:
        """Whether the training set's mean or eigenbasis is used."""
        return self.mean in get_args(Mean)[:3] or self.shifts_light

    def windows(self, draws: EpochDraws, image_size: int) -> npt.NDArray[np.int32]:
        """Return the random windows of all samples: (n, 4) top, left, height, width, pixels."""
        assert isinstance(self.crop, RandomCrop | RandomResizedCrop)
        return self.crop.windows(draws, image_size)

    def flips(self, draws: EpochDraws) -> npt.NDArray[np.int32]:
        """Return whether each sample's random crop is flipped: (n,), 0 or 1."""
        drawn = draws.flip
        if isinstance(self.crop, RandomCrop) and self.crop.shared_by > 1:
            drawn = drawn[shared(len(drawn), self.crop.shared_by)]
        return (drawn < self.flip_probability).astype(np.int32)

    def choose(self, draws: EpochDraws, image_size: int, statistics: Statistics | None) -> Choices | None:
        """Turn an epoch's draws into choices; None for the fixed views."""
        if not self.is_random:
            return None
        lights = None
        if self.shifts_light:
            assert statistics is not None
            lights = self.lighting.shifts(draws.lighting, statistics)
        return Choices(self.windows(draws, image_size), self.flips(draws), lights)

    def channel_mean(self, statistics: Statistics | None) -> npt.NDArray[np.float32]:
        """Return the channel means that are subtracted, (3,); zeros where a mean image is, or nothing."""
        if self.mean == "channel":
            assert statistics is not None
            return statistics.mean.astype(np.float32)
        return np.zeros(3, np.float32) if isinstance(self.mean, str) else np.array(self.mean, np.float32)

    def mean_window(self, window: Window, image_size: int, statistics: Statistics) -> npt.NDArray[np.float32]:
        """Return what of the mean image is subtracted from a crop in this window: (size, size, 3)."""
        if self.mean == "center window":
            middle = self.crop.span(image_size) // 2
            window = Window(middle, middle, False)
        return cut(statistics.mean_image, window, self.crop.size)

    def apply(
        self, image: npt.NDArray[np.uint8], draws: EpochDraws, sample: int, statistics: Statistics | None
    ) -> npt.NDArray[Any]:
        """Transform one decoded image, uint8 (S, S, 3): the numpy oracle of the DALI graph.

        Returns (3, size, size), or (10, 3, size, size) for ten views; uint8 or float64.
        """
        if isinstance(self.crop, RandomCrop | RandomResizedCrop):
            top, left, height, width = self.windows(draws, image.shape[0])[sample].tolist()
            if isinstance(self.crop, RandomResizedCrop):
                image = _resize(image[top : top + height, left : left + width], self.crop.size)
                top = left = 0
            windows = [Window(top, left, bool(self.flips(draws)[sample]))]
        else:
            windows = self.crop.fixed_windows(image.shape[0])
        views = [self._finish(image, window, draws, sample, statistics).transpose(2, 0, 1) for window in windows]
        return np.stack(views) if self.views > 1 else views[0]

    def _finish(
        self,
        image: npt.NDArray[np.uint8],
        window: Window,
        draws: EpochDraws,
        sample: int,
        statistics: Statistics | None,
    ) -> npt.NDArray[Any]:
        view = cut(image, window, self.crop.size)
        if self.dtype == "uint8":
            return view
        values = view - self.channel_mean(statistics).astype(np.float64)
        if self.mean in ("image", "center window"):
            assert statistics is not None
            values -= self.mean_window(window, image.shape[0], statistics)
        if self.shifts_light:
            assert statistics is not None
            values += self.lighting.shifts(draws.lighting[[sample]], statistics)[0]
        return values if self.divisors is None else values / np.array(self.divisors)


def _resize(window: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Scale to (size, size, 3) as torchvision does with Pillow: bilinear, antialiased when shrinking."""
    return np.asarray(Image.fromarray(window).resize((size, size), Image.Resampling.BILINEAR))
