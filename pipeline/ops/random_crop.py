"""Random crops: a square of fixed size at a drawn place (paper section 4.1)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn

from ...shards import FreelightError
from ..draws import EpochDraws, shared
from .context import Context, GraphContext
from .crop import Crop, View, Window
from .op import Arrays, Feed


@dataclass(frozen=True, kw_only=True)
class RandomCrop(Crop):
    """A square at a random place, every offset equally likely (paper section 4.1).

    shared_by: the number of consecutive samples, in written order, that share one place and one flip (the 2012 code:
    32). centered: always use the central square; only flip and lighting are random.
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

    def windows(self, draws: EpochDraws, image_size: int) -> npt.NDArray[np.int32]:
        """Return the windows of all samples: (n, 4) top, left, height, width, pixels."""
        if self.centered:
            middle = self.span(image_size) // 2
            return np.tile(np.array([middle, middle, self.size, self.size], np.int32), (len(draws.crop), 1))
        offsets = (shared(draws.crop, self.shared_by) * (self.span(image_size) + 1)).astype(np.int32)
        return np.concatenate([offsets, np.full_like(offsets, self.size)], axis=1)

    def feeds(self) -> dict[str, Feed]:
        """Return the types of the place: top and left, as fractions of the largest offset."""
        return {"top": Feed("float32"), "left": Feed("float32")}

    def choose(self, draws: EpochDraws, context: Context) -> Arrays:
        """Return the places. DALI rounds fraction * largest offset to the nearest pixel: the drawn offset."""
        offsets = self.windows(draws, context.image_size)[:, :2].astype(np.float32)
        offsets /= max(1, self.span(context.image_size))
        return {"top": offsets[:, 0].copy(), "left": offsets[:, 1].copy()}

    def nodes(self, jpeg: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Decode the window only; the pixels are those of decoding the whole image and cropping it."""
        place = {"crop": [self.size, self.size], "crop_pos_y": fed["top"], "crop_pos_x": fed["left"]}
        image = fn.decoders.image_crop(jpeg, **context.decoding, **place)
        return [View(image, fed["flip"], place, window=None, is_cut=True)]

    def reference(
        self, image: npt.NDArray[np.uint8], draws: EpochDraws, sample: int
    ) -> list[tuple[npt.NDArray[np.uint8], Window]]:
        """Cut the sample's window out of one decoded image (S, S, 3)."""
        top, left, _, _ = self.windows(draws, image.shape[0])[sample].tolist()
        window = Window(top, left, False)
        return [(self.cut(image, window), window)]
