"""The base of the ops that change a share of the images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError
from ...shards.base import check_fields
from .op import Arrays, Op


@dataclass(frozen=True, kw_only=True)
class RandomOp(Op):
    """p: the probability that an image is changed, 0..1."""

    p: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.p <= 1:
            raise FreelightError(f"{self.name} `p` (={self.p}) must lie in 0..1")

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Draw a uniform number for each occurrence: below `p`, the image is changed."""
        return {"chance": generator.random(count, dtype=np.float32)}

    def is_changed(self, drawn: Arrays) -> npt.NDArray[np.bool_]:
        """Return whether each occurrence is changed: (n,)."""
        return drawn["chance"] < np.float32(self.p)
