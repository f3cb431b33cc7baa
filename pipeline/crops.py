"""Which part of an image is seen: random crops, drawn anew each epoch, and the fixed views of evaluation."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..shards import FreelightError
from .draws import EpochDraws


class Window(NamedTuple):
    """A square crop of an image: its top and left edge, pixels, and whether it is then flipped left to right."""

    top: int
    left: int
    flip: bool


@dataclass(frozen=True, kw_only=True)
class _Crop:
    """size: side of the square that comes out, pixels."""

    size: int = 224

    def __post_init__(self) -> None:
        if self.size < 1:
            raise FreelightError(f"transform: crop (={self.size}) must be at least 1 pixel")

    def span(self, image_size: int) -> int:
        """Return the largest offset of a crop in an image of side `image_size`; there are span + 1 offsets an axis."""
        if self.size > image_size:
            raise FreelightError(f"a crop of {self.size} pixels does not fit the dataset's images of {image_size}")
        return image_size - self.size


@dataclass(frozen=True, kw_only=True)
class RandomCrop(_Crop):
    """A square at a random place, every offset equally likely (paper section 4.1).

    shared_by: so many samples that follow one another as written share one place, and one flip (the 2012 code: 32).
    centered: always the central square, so that only the flip and the light of an image are drawn.
    """

    shared_by: int = 1
    centered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shared_by < 1:
            raise FreelightError(f"transform: shared_by (={self.shared_by}) must be at least 1")

    def windows(self, draws: EpochDraws, image_size: int) -> npt.NDArray[np.int32]:
        """Return the windows of all samples: (n, 4) top, left, height, width, pixels."""
        if self.centered:
            middle = self.span(image_size) // 2
            return np.tile(np.array([middle, middle, self.size, self.size], np.int32), (len(draws.crop), 1))
        drawn = draws.crop if self.shared_by == 1 else draws.crop[shared(len(draws.crop), self.shared_by)]
        offsets = (drawn * (self.span(image_size) + 1)).astype(np.int32)
        return np.concatenate([offsets, np.full_like(offsets, self.size)], axis=1)


@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(_Crop):
    """A window of random area and shape, scaled to a square: the augmentation of Inception, and torchvision's sampling.

    scale: the window's share of the image's area, from a uniform distribution. ratio: width / height, its logarithm
    uniform. A window that does not fit is drawn again, ten times in all; after that it is the whole image.
    Pixels are torchvision's to one grey level, but for the outermost ones where a window is shrunk: DALI repeats its
    edge there. Crops far smaller than the windows show it.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise FreelightError(f"transform: scale (={self.scale}) must be 0 < smallest <= largest <= 1")
        if not 0 < self.ratio[0] <= 1 <= self.ratio[1]:
            raise FreelightError(f"transform: ratio (={self.ratio}) must be smallest <= 1 <= largest, above 0")

    def windows(self, draws: EpochDraws, image_size: int) -> npt.NDArray[np.int32]:
        """Return the windows of all samples: (n, 4) top, left, height, width, pixels."""
        generator = np.random.Generator(np.random.Philox((draws.seed, draws.epoch, 1)))
        sides = np.full((len(draws.crop), 2), image_size, np.int32)
        left = np.arange(len(sides))
        for _ in range(10):
            area = image_size**2 * generator.uniform(*self.scale, len(left))
            shape = np.exp(generator.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), len(left)))
            drawn = np.rint(np.sqrt(np.stack([area / shape, area * shape], axis=1))).astype(np.int32)
            fits = ((drawn > 0) & (drawn <= image_size)).all(axis=1)
            sides[left[fits]] = drawn[fits]
            left = left[~fits]
        offsets = (draws.crop * (image_size - sides + 1)).astype(np.int32)
        return np.concatenate([offsets, sides], axis=1)


@dataclass(frozen=True, kw_only=True)
class CenterCrop(_Crop):
    """The central square."""

    def fixed_windows(self, image_size: int) -> list[Window]:
        """Return the one window."""
        middle = self.span(image_size) // 2
        return [Window(middle, middle, False)]


@dataclass(frozen=True, kw_only=True)
class TenCrop(_Crop):
    """The four corners and the centre, then their reflections (paper section 4.1)."""

    def fixed_windows(self, image_size: int) -> list[Window]:
        """Return the ten windows, in order."""
        span = self.span(image_size)
        middle = span // 2
        corners = ((0, 0), (0, span), (middle, middle), (span, 0), (span, span))
        return [Window(top, left, flip) for flip in (False, True) for top, left in corners]


Crop = RandomCrop | RandomResizedCrop | CenterCrop | TenCrop


def shared(samples: int, by: int) -> npt.NDArray[np.int64]:
    """Return, for each sample, the first of the `by` samples whose draw it shares."""
    index = np.arange(samples)
    return index - index % by


def cut(image: npt.NDArray, window: Window, size: int) -> npt.NDArray:  # type: ignore[type-arg]  # any dtype
    """Cut the window out of an (S, S, 3) array and flip it if it says so: (size, size, 3)."""
    view = image[window.top : window.top + size, window.left : window.left + size]
    return view[:, ::-1] if window.flip else view
