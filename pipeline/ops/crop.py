"""The base class of crops, which decode only the part of an image that is used, as one view or several."""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from nvidia.dali import types

from ...shards import FreelightError
from ...shards.base import check_fields
from ...shards.images import MAX_SIDE
from ..draws import EpochDraws
from .context import Context, GraphContext
from .op import Arrays, Feed


class Window(NamedTuple):
    """A square crop of an image: its top and left edge, pixels, and whether it is then flipped left to right."""

    top: int
    left: int
    flip: bool


class View(NamedTuple):
    """One view of an image in the graph.

    image: uint8 "HWC" node, the crop itself if `is_cut`, else the whole image. flip: 0, 1, or a node of 0 and 1. place:
    `crop_mirror_normalize` arguments that cut this view out of an image of the dataset's size. window: the place and
    flip if they are the same for all images, else None.
    """

    image: Any
    flip: Any
    place: dict[str, Any]
    window: Window | None
    is_cut: bool

    def pixels(self, context: GraphContext) -> Any:
        """Return the crop before its flip: uint8 "HWC" node."""
        if self.is_cut:
            return self.image
        return context.crop_mirror_normalize(self.image, dtype=types.UINT8, output_layout="HWC", **self.place)

    def flipped(self, context: GraphContext) -> Any:
        """Return the crop after its flip: uint8 node in the order of `context.axes`."""
        if self.is_cut:
            return context.flip(self.image, self.flip)
        return context.crop_mirror_normalize(self.image, mirror=self.flip, dtype=types.UINT8, **self.place)


@dataclass(frozen=True, kw_only=True)
class Crop(abc.ABC):
    """size: side of the square output, pixels.

    views: views of each image. is_random: whether each epoch draws new places; only then does the transform flip and
    add lighting noise. allows_mean_image: whether the same window can be cut out of the mean image.
    """

    views: ClassVar[int] = 1
    is_random: ClassVar[bool] = True
    allows_mean_image: ClassVar[bool] = True

    size: int = 224

    def __post_init__(self) -> None:
        check_fields(self)
        if not 1 <= self.size <= MAX_SIDE:
            raise FreelightError(
                f"transform: crop `size` (={self.size}) must be at least 1 pixel and at most {MAX_SIDE}, JPEG's limit"
            )

    @property
    def flips_shared_by(self) -> int:
        """The number of consecutive samples, in written order, that share one flip."""
        return 1

    def span(self, image_size: int) -> int:
        """Return the largest offset of a crop in an image of side `image_size`: offsets are 0..span on each axis."""
        if self.size > image_size:
            raise FreelightError(f"a crop of {self.size} pixels does not fit the dataset's images of {image_size}")
        return image_size - self.size

    def check_fits(self, image_size: int) -> None:
        """Raise `FreelightError` if images of side `image_size` are too small for the crop."""
        self.span(image_size)

    def windows(self, draws: EpochDraws, image_size: int) -> npt.NDArray[np.int32]:
        """Return the drawn windows of all samples: (n, 4) top, left, height, width, pixels."""
        raise FreelightError(f"{type(self).__name__} has no random windows")

    def feeds(self) -> dict[str, Feed]:
        """Return the type of each argument of the graph."""
        return {}

    def choose(self, draws: EpochDraws, context: Context) -> Arrays:
        """Return the arguments that `feeds` names, for all samples."""
        return {}

    @abc.abstractmethod
    def nodes(self, jpeg: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Decode a node of JPEG bytes into `views` views. fed: a node for each of `feeds`, and "flip" if random."""

    @abc.abstractmethod
    def reference(
        self, image: npt.NDArray[np.uint8], draws: EpochDraws, sample: int
    ) -> list[tuple[npt.NDArray[np.uint8], Window]]:
        """Cut the views out of one decoded image (S, S, 3) in numpy: the pixels before any flip, and their window."""

    def cut(self, image: npt.NDArray[Any], window: Window) -> npt.NDArray[Any]:
        """Cut the window out of an (S, S, 3) array, not flipped: (size, size, 3)."""
        return image[window.top : window.top + self.size, window.left : window.left + self.size]
