"""Crops of fixed size at a place: out of the picture as it is stored, or after its shorter side was resized."""

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError
from ...shards.images import MAX_SIDE
from ..draws import EpochDraws
from .context import GraphContext
from .crop import Crop
from .op import Arrays, Feed
from .resizing import Sizes, filters, resize_node, resize_picture, resized_sizes


@dataclass(frozen=True, kw_only=True, repr=False)
class PlacedCrop(Crop):
    """resize: first resize the shorter side to this many pixels, as torchvision's Resize. By default the picture's own
    pixels are cut.
    """

    resize: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shorter_side is not None and not self.size <= self.shorter_side <= MAX_SIDE:
            raise FreelightError(
                f"transform: `resize` (={self.shorter_side}) must be at least the crop's `size` (={self.size}) and at "
                f"most {MAX_SIDE}"
            )

    @property
    def shorter_side(self) -> int | None:
        """The shorter side that pictures are resized to, or None."""
        return self.resize

    @property
    def resizes(self) -> bool:
        """Whether pictures are resized."""
        return self.shorter_side is not None

    def check_fits(self, sizes: Sizes) -> None:
        """Raise `FreelightError` if a picture is too small for the crop; a resized one never is."""
        self.spans(sizes)

    def spans(self, sizes: Sizes) -> npt.NDArray[np.int64]:
        """Return the largest offsets of the crop, top and left: (n, 2), or (1, 2) for squares."""
        spans = self.placed_sizes(sizes) - self.size
        if (spans < 0).any():
            remedy = "give the crop a `resize`, such as resize=256"
            if isinstance(sizes, int):
                raise FreelightError(
                    f"a crop of {self.size} pixels does not fit the dataset's images of {sizes}; {remedy}"
                )
            smallest = int(sizes.min(axis=1).argmin())
            height, width = sizes[smallest].tolist()
            raise FreelightError(
                f"a crop of {self.size} pixels does not fit the dataset's smallest image, sample {smallest} of "
                f"{height} x {width} pixels; {remedy}"
            )
        return spans

    def span(self, image_size: int) -> int:
        """Return the largest offset of a crop in a square of this side: offsets are 0..span on each axis."""
        return int(self.spans(image_size)[0, 0])

    def placed_sizes(self, sizes: Sizes) -> npt.NDArray[np.int64]:
        """Return the sizes of the pictures that the crop is cut out of: (n, 2), or (1, 2) for squares."""
        stored = np.array([[sizes, sizes]]) if isinstance(sizes, int) else sizes.astype(np.int64)
        return stored if self.shorter_side is None else resized_sizes(stored, self.shorter_side)

    def middles(self, sizes: Sizes) -> npt.NDArray[np.int64]:
        """Return the offsets of the central crop: half of the largest, rounded down as the authors do.

        After `resize` half an offset goes to the even neighbour, as in torchvision.
        """
        spans = self.spans(sizes)
        return np.rint(spans / 2).astype(np.int64) if self.resizes else spans // 2

    def needed(
        self, chosen: Arrays, sizes: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the crops, or the pieces that resized crops are made of."""
        if self.resizes:
            return np.zeros_like(sizes), chosen["shape"]
        return self.chosen_offsets(chosen, sizes).astype(np.int32), np.full_like(sizes, self.size)

    def placement(
        self, chosen: Arrays, sizes: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return corners and scales."""
        scales = sizes / self.placed_sizes(sizes)
        return self.chosen_offsets(chosen, sizes) * scales, scales

    def chosen_offsets(self, chosen: Arrays, sizes: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
        """Return top and left of the crops of some samples, as `placement`; of resized crops by default."""
        return chosen["place"]

    @abc.abstractmethod
    def offsets(self, draws: EpochDraws, sizes: Sizes) -> npt.NDArray[np.int32]:
        """Return top and left of the crop of all samples: (n, 2), pixels of the picture that it is cut out of."""

    def feeds(self) -> dict[str, Feed]:
        """Return the types of a resized crop's arguments; the others have none.

        shape: how much of the picture to decode, from its top left corner. place: top and left in the resized picture.
        scale: pixels of the picture for one of the resized picture.
        """
        if not self.resizes:
            return {}
        return {
            "shape": Feed("int32", 1),
            "place": Feed("int32", 1),
            "scale": Feed("float32", 1),
            **self.filter_feeds(),
        }

    def choose(self, draws: EpochDraws, sizes: Sizes) -> Arrays:
        """Return the arguments of a resized crop.

        The decoded piece starts at the corner, so that resizing it has the phase of resizing the whole; it ends where
        the filter does, which reaches over twice the scale (bicubic), at least two pixels.
        """
        if not self.resizes:
            return {}
        offsets = self.offsets(draws, sizes)
        stored = np.array([[sizes, sizes]]) if isinstance(sizes, int) else sizes
        scale = stored / self.placed_sizes(sizes)
        ends = np.ceil((offsets + self.size) * scale + 2 * np.maximum(scale, 1)) + 1
        return {
            "shape": np.minimum(ends, stored).astype(np.int32),
            "place": offsets,
            "scale": np.broadcast_to(scale, offsets.shape).astype(np.float32),
            **self.choose_filters(draws),
        }

    def decoded(self, jpeg: Any, fed: dict[str, Any], context: GraphContext) -> Any:
        """Decode the piece of a resized crop."""
        return context.decoded_slice(jpeg, [0, 0], fed["shape"])

    def resized(self, image: Any, fed: dict[str, Any]) -> Any:
        """Resize the part of the piece that becomes the crop; the filter also sees what is around it."""
        start, end = (place * fed["scale"] for place in (fed["place"], fed["place"] + self.size))
        return resize_node(
            image, self.interpolation, fed.get("filter"), size=[self.size, self.size], roi_start=start, roi_end=end
        )

    def placed_picture(self, image: npt.NDArray[np.uint8], draws: EpochDraws, sample: int) -> npt.NDArray[np.uint8]:
        """Return the picture (H, W, 3) that the crop of `sample` is cut out of."""
        if not self.resizes:
            return image
        height, width = self.placed_sizes(np.array([image.shape[:2]], np.int32))[0].tolist()
        return resize_picture(image, height, width, int(filters(self.interpolation, draws)[sample]))
