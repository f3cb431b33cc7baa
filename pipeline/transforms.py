"""What happens to an image between its shard and the network: crop, flip, mean, lighting, in that order.

A transform is described here, with a plain numpy oracle beside it; `graph.py` builds the same in DALI.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ..shards import FreelightError, Statistics
from .lighting import Lighting
from .order import EpochDraws

Views = Literal["random", "center", "ten"]
Mean = Literal["image", "channel", "none"]
DType = Literal["uint8", "float16", "float32"]


class Window(NamedTuple):
    """A crop of an image: its top and left edge, pixels, and whether it is then flipped left to right."""

    top: int
    left: int
    flip: bool


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A recipe's preprocessing of one image.

    crop: side of the square crop, pixels. views: `random` (each offset equally likely), `center`, or `ten` (paper
    section 4.1: four corners and centre, then their reflections). flip_probability: of `random` views.
    mean: what is subtracted: the mean `image` of the training set (it follows crop and flip), the `channel` means, or
    `none`. lighting: of `random` views. dtype: `uint8` means crop and flip only.
    """

    crop: int = 224
    views: Views = "random"
    flip_probability: float = 0.5
    mean: Mean = "image"
    lighting: Lighting = field(default_factory=Lighting)
    dtype: DType = "float32"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("views", self.views, get_args(Views)),
            ("mean", self.mean, get_args(Mean)),
            ("dtype", self.dtype, get_args(DType)),
        ):
            if value not in choices:
                raise FreelightError(f"transform: {name} {value!r} is not one of {', '.join(choices)}")
        if self.crop < 1:
            raise FreelightError(f"transform: crop (={self.crop}) must be at least 1 pixel")
        if not 0 <= self.flip_probability <= 1:
            raise FreelightError(f"transform: flip_probability (={self.flip_probability}) must lie in 0..1")
        if self.dtype == "uint8" and (self.mean != "none" or self.shifts_light):
            raise FreelightError("transform: uint8 means crop and flip only; set mean='none' and lighting off")

    @property
    def shifts_light(self) -> bool:
        """Whether an image's lighting is changed."""
        return self.views == "random" and self.lighting.mode != "off"

    @property
    def divisor(self) -> float:
        """What the image less its mean is divided by: the lighting's divisor where the lighting is changed, else 1."""
        return self.lighting.divisor if self.shifts_light else 1.0

    @property
    def needs_statistics(self) -> bool:
        """Whether the training set's mean or eigenbasis is used."""
        return self.mean != "none" or self.shifts_light

    def span(self, image_size: int) -> int:
        """Return the largest offset of a crop in an image of side `image_size`; there are span + 1 offsets an axis."""
        if self.crop > image_size:
            raise FreelightError(f"a crop of {self.crop} pixels does not fit the dataset's images of {image_size}")
        return image_size - self.crop

    def fixed_windows(self, image_size: int) -> list[Window]:
        """Return the windows of the deterministic views, in order; none for `random`."""
        span = self.span(image_size)
        middle = (span // 2, span // 2)
        if self.views == "center":
            return [Window(*middle, False)]
        if self.views == "ten":
            corners = ((0, 0), (0, span), middle, (span, 0), (span, span))
            return [Window(top, left, flip) for flip in (False, True) for top, left in corners]
        return []

    def random_windows(
        self, draws: EpochDraws, samples: npt.NDArray[np.int32], image_size: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the `random` view's offsets (n, 2), top and left in pixels, and flips (n,), 0 or 1, of `samples`."""
        offsets = (draws.crop[samples] * (self.span(image_size) + 1)).astype(np.int32)
        return offsets, (draws.flip[samples] < self.flip_probability).astype(np.int32)

    def light_shifts(
        self, draws: EpochDraws, samples: npt.NDArray[np.int32], statistics: Statistics
    ) -> npt.NDArray[np.float32]:
        """Return the lighting shifts of `samples`, (n, 3) RGB in grey levels."""
        return self.lighting.shifts(draws.lighting[samples], statistics)

    def apply(
        self, image: npt.NDArray[np.uint8], draws: EpochDraws, sample: int, statistics: Statistics | None
    ) -> npt.NDArray[np.uint8] | npt.NDArray[np.float64]:
        """Transform one decoded image, uint8 (S, S, 3): the numpy oracle of the DALI graph.

        Returns (3, crop, crop), or (10, 3, crop, crop) for ten views; uint8 or float64, 0-255 units, RGB.
        """
        size = image.shape[0]
        if self.views == "random":
            offsets, flips = self.random_windows(draws, np.array([sample], np.int32), size)
            windows = [Window(int(offsets[0, 0]), int(offsets[0, 1]), bool(flips[0]))]
        else:
            windows = self.fixed_windows(size)
        values: npt.NDArray[np.uint8] | npt.NDArray[np.float64] = image
        if self.dtype != "uint8":
            values = image.astype(np.float64) - (0 if statistics is None else self.subtracted(statistics))
        if self.shifts_light:
            assert statistics is not None
            shift = self.light_shifts(draws, np.array([sample]), statistics)[0].astype(np.float64)
            values = (values + shift) / self.divisor
        views = np.stack([cut(values, window, self.crop).transpose(2, 0, 1) for window in windows])
        return views if self.views == "ten" else views[0]

    def subtracted(self, statistics: Statistics) -> npt.NDArray[np.float32]:
        """Return what is subtracted from a whole image: float32 broadcastable to (S, S, 3)."""
        if self.mean == "image":
            return statistics.mean_image
        mean = statistics.mean if self.mean == "channel" else np.zeros(3)
        return mean.astype(np.float32)[None, None]


def cut(image: npt.NDArray, window: Window, crop: int) -> npt.NDArray:  # type: ignore[type-arg]  # any dtype
    """Cut the window out of an (S, S, 3) array and flip it if it says so: (crop, crop, 3)."""
    view = image[window.top : window.top + crop, window.left : window.left + crop]
    return view[:, ::-1] if window.flip else view
