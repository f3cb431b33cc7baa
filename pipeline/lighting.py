"""Lighting noise along the RGB principal axes (paper section 4.1), in the forms that exist.

Both add `p1*a1*x1 + p2*a2*x2 + p3*a3*x3` to every pixel of an image: p the eigenvectors of the RGB covariance,
a ~ N(0, strength) drawn once per image per epoch. They differ in x, and by that in size twofold or worse.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ..shards import FreelightError, Statistics

LightingMode = Literal["eigenvalue", "std", "off"]


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """Lighting noise.

    mode: `eigenvalue`, the paper's formula on pixels scaled to 0-1, scaled back (main axis about 5.8 grey levels on
    ImageNet); `std`, the 2012 code's, the eigenvalues' square roots on 0-255 (about 12.2); or `off`.
    strength: standard deviation of the draws (the paper's 0.1).
    """

    mode: LightingMode = "eigenvalue"
    strength: float = 0.1

    def __post_init__(self) -> None:
        if self.mode not in get_args(LightingMode):
            raise FreelightError(f"lighting mode {self.mode!r} is not one of {', '.join(get_args(LightingMode))}")
        if self.strength < 0:
            raise FreelightError(f"lighting strength (={self.strength}) must not be negative")

    def shifts(self, draws: npt.NDArray[np.float32], statistics: Statistics) -> npt.NDArray[np.float32]:
        """Turn standard normal draws (n, 3), one a principal axis, into RGB shifts (n, 3) in grey levels (0-255)."""
        if self.mode == "off":
            return np.zeros_like(draws)
        # The eigenvalues of [0, 1] pixels are 255**2 times smaller; the result is scaled back by 255.
        sizes = np.sqrt(statistics.eigenvalues) if self.mode == "std" else statistics.eigenvalues / 255
        shifts = (draws * self.strength * sizes) @ statistics.eigenvectors.T
        return shifts.astype(np.float32)
