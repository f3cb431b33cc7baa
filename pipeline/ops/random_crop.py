"""Random crops: a square of fixed size at a drawn place (paper section 4.1)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError
from ..draws import EpochDraws, shared
from .context import GraphContext
from .crop import View, Window
from .op import Arrays, Feed
from .placed_crop import PlacedCrop
from .resizing import Sizes


@dataclass(frozen=True, kw_only=True, repr=False)
class RandomCrop(PlacedCrop):
    """A square at a random place, every offset equally likely (paper section 4.1).

    resize: first resize the shorter side to this many pixels; by default the picture's own pixels are cut. shared_by:
    the number of consecutive samples, in written order, that share one place and one flip (the 2012 code: 32).
    centered: always use the central square; only flip and lighting are random.
    """

    shared_by: int = 1
    centered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shared_by < 1:
            raise FreelightError(f"transform: `shared_by` (={self.shared_by}) must be at least 1")

    @property
    def flips_shared_by(self) -> int:
        """The number of consecutive samples, in written order, that share one flip."""
        return self.shared_by

    def offsets(self, draws: EpochDraws, sizes: Sizes) -> npt.NDArray[np.int32]:
        """Return top and left of the crop of all samples: (n, 2), pixels."""
        if self.centered:
            return np.broadcast_to(self.middles(sizes), draws.crop.shape).astype(np.int32)
        drawn = shared(draws.crop, self.shared_by) * (self.spans(sizes) + 1).astype(np.float32)
        return drawn.astype(np.int32)

    def windows(self, draws: EpochDraws, sizes: Sizes) -> npt.NDArray[np.int32]:
        """Return the windows of all samples: (n, 4) top, left, height, width, pixels; after `resize`, if given."""
        offsets = self.offsets(draws, sizes)
        return np.concatenate([offsets, np.full_like(offsets, self.size)], axis=1)

    def feeds(self) -> dict[str, Feed]:
        """Return the types of the place: top and left, as fractions of the largest offset."""
        return super().feeds() if self.resizes else {"top": Feed("float32"), "left": Feed("float32")}

    def choose(self, draws: EpochDraws, sizes: Sizes) -> Arrays:
        """Return the places. DALI rounds fraction * largest offset to the nearest pixel: the drawn offset."""
        if self.resizes:
            return super().choose(draws, sizes)
        places = self.offsets(draws, sizes).astype(np.float32)
        places /= np.maximum(1, self.spans(sizes))
        return {"top": places[:, 0].copy(), "left": places[:, 1].copy()}

    def chosen_offsets(self, chosen: Arrays, sizes: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
        """Return top and left of the crops of some samples."""
        if self.resizes:
            return super().chosen_offsets(chosen, sizes)
        return np.rint(np.stack([chosen["top"], chosen["left"]], axis=1) * self.spans(sizes))

    def decoded(self, jpeg: Any, fed: dict[str, Any], context: GraphContext) -> Any:
        """Decode the window only; the pixels are those of decoding the whole image and cropping it."""
        if self.resizes:
            return super().decoded(jpeg, fed, context)
        return context.decoded_crop(jpeg, **self._place(fed))

    def cut_views(self, image: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Return the one view, which is already cut; its place is for the mean image."""
        place = self._place(fed) if "top" in fed else {}
        return [View(image, fed["flip"], place, window=None, is_cut=True)]

    def picture_views(self, image: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Return the one view, which is cut by the kernel that flips it."""
        if self.resizes:
            return super().picture_views(image, fed, context)
        return [View(image, fed["flip"], self._place(fed), window=None, is_cut=False)]

    def _place(self, fed: dict[str, Any]) -> dict[str, Any]:
        return {"crop": [self.size, self.size], "crop_pos_y": fed["top"], "crop_pos_x": fed["left"]}

    def reference(
        self, image: npt.NDArray[np.uint8], draws: EpochDraws, sample: int, sizes: Sizes
    ) -> list[tuple[npt.NDArray[np.uint8], Window]]:
        """Cut the sample's window out of one decoded picture (H, W, 3)."""
        top, left = self.offsets(draws, sizes)[sample].tolist()
        window = Window(top, left, False)
        return [(self.cut(self.placed_picture(image, draws, sample), window), window)]
