"""A share of the images with their bright values inverted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError
from .context import Context, GraphContext
from .op import Arrays, Feed
from .random_op import RandomOp


@dataclass(frozen=True, kw_only=True)
class Solarize(RandomOp):
    """Replace values v of at least `threshold` (0..256) by 255 - v, with probability `p`."""

    name = "solarize"
    stage = "pixels"

    p: float = 0.2
    threshold: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.threshold <= 256:
            raise FreelightError(f"solarize `threshold` (={self.threshold}) must lie in 0..256")

    def choose(self, drawn: Arrays, context: Context) -> Arrays:
        """Return 255, which inverts the bits of a value, or 0."""
        return {"mask": np.where(self.is_changed(drawn), 255, 0).astype(np.uint8)}

    def feeds(self) -> dict[str, Feed]:
        """Return the type of the mask."""
        return {"mask": Feed("uint8")}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        """Invert the bits where a value reaches the threshold: 255 - v is v ^ 255."""
        return image ^ ((image >= self.threshold) * context.on_device(fed["mask"]))

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        """Do the same in numpy."""
        return np.where(image >= self.threshold, image ^ chosen["mask"], image)
