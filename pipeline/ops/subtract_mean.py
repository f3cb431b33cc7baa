"""The mean that a transform subtracts: an image, its centre, or one number per channel."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError
from .context import Context
from .crop import Crop, Window

Mean = Literal["image", "center window", "channel", "none"]
RGB = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class SubtractMean:
    """What is subtracted, in 0-255 units.

    mean: `image`, the training set's mean image with each image's own crop and flip; `center window`, its central
    window for every crop (the 2012 code); `channel`, the channel means; three RGB numbers; or `none`.
    """

    mean: Mean | RGB = "image"

    def __post_init__(self) -> None:
        if isinstance(self.mean, str) and self.mean not in get_args(Mean):
            raise FreelightError(
                f"transform: `mean` {self.mean!r} is not one of {', '.join(get_args(Mean))}, nor three RGB numbers"
            )

    @property
    def needs_statistics(self) -> bool:
        """Whether the training set's mean is used."""
        return self.mean in ("image", "center window", "channel")

    @property
    def is_image(self) -> bool:
        """Whether the mean differs from pixel to pixel."""
        return self.mean in ("image", "center window")

    def check(self, context: Context) -> None:
        """Raise `FreelightError` if the statistics are missing, or come from images of another size."""
        if not self.is_image:
            return
        if context.image_size is None:
            raise FreelightError(
                "transform: a mean image is for squares of one size, but the dataset's images differ in size; set "
                "mean='channel', or numbers"
            )
        if (side := len(context.required_statistics.require_mean_image())) != context.image_size:
            raise FreelightError(
                f"the mean image has side {side}, the dataset's images {context.image_size}; "
                "run freelight compute-pca on this dataset"
            )

    def channels(self, context: Context) -> npt.NDArray[np.float32]:
        """Return the channel means that are subtracted, (3,); zeros for a mean image and for `none`."""
        if self.mean == "channel":
            return context.required_statistics.mean.astype(np.float32)
        return np.zeros(3, np.float32) if isinstance(self.mean, str) else np.array(self.mean, np.float32)

    def pixels(self, crop: Crop, window: Window, context: Context) -> npt.NDArray[np.float32]:
        """Return what is subtracted from a crop in this window: (size, size, 3), or (1, 1, 3) for channel means."""
        if not self.is_image:
            return self.channels(context)[None, None]
        mean_image = context.required_statistics.require_mean_image()
        if self.mean == "center window":
            middle = (len(mean_image) - crop.size) // 2
            window = Window(middle, middle, False)
        pixels = crop.cut(mean_image, window)
        return pixels[:, ::-1] if window.flip else pixels
