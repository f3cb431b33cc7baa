"""The base class of crops, which decode only the part of an image that is used, as one view or several."""

import abc
import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from nvidia.dali import types

from ...shards import FreelightError
from ...shards.base import check_fields
from ...shards.images import MAX_SIDE
from ..draws import EpochDraws
from .context import GraphContext
from .op import Arrays, Feed
from .resizing import Interpolation, Sizes, filters

LATER_FIELDS = ("interpolation", "resize", "crop_pct")
"""Fields that version 0.1 did not have. A repr shows them if they differ from the default: loader states hold it."""


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


@dataclass(frozen=True, kw_only=True, repr=False)
class Crop(abc.ABC):
    """size: side of the square output, pixels. interpolation: of crops that are resized; `random` draws one of the two
    for each sample.

    views: views of each image. is_random: whether each epoch draws new places; only then does the transform flip and
    add lighting noise.
    """

    views: ClassVar[int] = 1
    is_random: ClassVar[bool] = True

    size: int = 224
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        check_fields(self)
        if not 1 <= self.size <= MAX_SIDE:
            raise FreelightError(
                f"transform: crop `size` (={self.size}) must be at least 1 pixel and at most {MAX_SIDE}, JPEG's limit"
            )

    def __repr__(self) -> str:
        shown = [
            spec.name
            for spec in dataclasses.fields(self)
            if spec.name not in LATER_FIELDS or getattr(self, spec.name) != spec.default
        ]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @property
    def resizes(self) -> bool:
        """Whether the crop is resized. The mean image then fits no crop."""
        return False

    @property
    def flips_shared_by(self) -> int:
        """The number of consecutive samples, in written order, that share one flip."""
        return 1

    def check_fits(self, sizes: Sizes) -> None:  # noqa: B027  # a resized crop fits any picture
        """Raise `FreelightError` if a picture is too small for the crop."""

    def windows(self, draws: EpochDraws, sizes: Sizes) -> npt.NDArray[np.int32]:
        """Return the drawn windows of all samples: (n, 4) top, left, height, width, pixels."""
        raise FreelightError(f"{type(self).__name__} has no random windows")

    def feeds(self) -> dict[str, Feed]:
        """Return the type of each argument of the graph."""
        return {}

    def choose(self, draws: EpochDraws, sizes: Sizes) -> Arrays:
        """Return the arguments that `feeds` names, for all samples."""
        return {}

    def placement(
        self, chosen: Arrays, sizes: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return where the crops of some samples lie: their top left corners (n, 2), and how many pixels of the picture
        one of the crop has along each axis (n, 2). Both in pixels of the picture, y before x; before any flip.

        chosen: rows of `choose`. sizes: heights and widths of the pictures (n, 2).
        """
        raise FreelightError(f"{type(self).__name__} does not say where its crops lie, which boxes need")

    def needed(
        self, chosen: Arrays, sizes: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return which part of some pictures the views need: start and shape (n, 2), pixels; by default the whole.

        The one view of a crop that does not resize is that part. chosen: rows of `choose`. sizes: of the pictures.
        """
        return np.zeros_like(sizes), sizes

    def filter_feeds(self) -> dict[str, Feed]:
        """Return the type of each sample's filter, if it is drawn."""
        return {"filter": Feed("int32")} if self.interpolation == "random" else {}

    def choose_filters(self, draws: EpochDraws) -> Arrays:
        """Return the argument that `filter_feeds` names."""
        return {"filter": filters(self.interpolation, draws)} if self.interpolation == "random" else {}

    def nodes(self, jpeg: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Decode a node of JPEG bytes into `views` views. fed: a node for each of `feeds`, and "flip" if random."""
        return self.views_of(self.decoded(jpeg, fed, context), fed, context)

    def views_of(self, image: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Return the views of what `decoded` returned."""
        return self.cut_views(self.resized(image, fed) if self.resizes else image, fed, context)

    def picture_views(self, image: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Return the views of the whole picture."""
        return self.views_of(image, fed, context)

    @abc.abstractmethod
    def decoded(self, jpeg: Any, fed: dict[str, Any], context: GraphContext) -> Any:
        """Decode as much of the picture as the views need: uint8 "HWC" node."""

    @abc.abstractmethod
    def resized(self, image: Any, fed: dict[str, Any]) -> Any:
        """Resize what `decoded` returned, for crops that are resized."""

    @abc.abstractmethod
    def cut_views(self, image: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Return the views of the decoded, and resized, image."""

    @abc.abstractmethod
    def reference(
        self, image: npt.NDArray[np.uint8], draws: EpochDraws, sample: int, sizes: Sizes
    ) -> list[tuple[npt.NDArray[np.uint8], Window]]:
        """Cut the views out of one decoded picture (H, W, 3) in numpy and Pillow: the pixels before any flip, and
        their window in a mean image.
        """

    def cut(self, image: npt.NDArray[Any], window: Window) -> npt.NDArray[Any]:
        """Cut the window out of an (H, W, 3) array, not flipped: (size, size, 3)."""
        return image[window.top : window.top + self.size, window.left : window.left + self.size]
