"""Lighting noise along the RGB principal axes (paper section 4.1), in its two published forms.

Both add `sum over axes j of p_j * a_j * x_j` to every pixel of an image: p_j the eigenvectors of the RGB covariance,
a_j ~ N(0, strength), three draws per image and epoch. They differ in x_j. With the eigenvalues l_j of 0-255 pixels and
the result in grey levels (0-255):

    mode        x_j            source                               main axis on ImageNet, strength 0.1
    eigenvalue  l_j / 255      the paper's formula on 0-1 pixels,    5.8 grey levels
                               scaled back; fb.resnet.torch
    std         sqrt(l_j)      the authors' 2012 code               12.2 grey levels
    off         0

So `std` is 255 / sqrt(l_j) times as strong: twice on the main axis, seven and thirteen times on the others. A literal
reading, with the eigenvalues of 0-255 pixels, would give 1,483 grey levels; nobody uses that.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError, Statistics
from ...shards.base import check_fields
from ..draws import EpochDraws
from .context import Context
from .op import Arrays, Feed

LightingMode = Literal["eigenvalue", "std", "off"]


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """Lighting noise: adds `a_j * x_j` along each principal axis j of RGB to an image, with `a_j ~ N(0, strength)`.

    mode: x_j of an axis with the eigenvalue l_j of 0-255 pixels. `eigenvalue`: l_j / 255, the paper's formula, 5.8 grey
    levels along ImageNet's main axis. `std`: the root of l_j, as the 2012 code, 12.2 grey levels. `off`: 0. strength:
    standard deviation of the draws (the paper's 0.1). divisor: divides the noisy image after the mean was subtracted.
    The 2012 code divides by 1.1 wherever it adds noise, so that the training data keep the scale of the test data; the
    paper does not divide.
    """

    mode: LightingMode = "eigenvalue"
    strength: float = 0.1
    divisor: float = 1.0

    def __post_init__(self) -> None:
        if self.mode not in get_args(LightingMode):
            raise FreelightError(f"lighting `mode` {self.mode!r} is not one of {', '.join(get_args(LightingMode))}")
        check_fields(self)
        if not 0 <= self.strength < math.inf:
            raise FreelightError(f"lighting `strength` (={self.strength}) must be 0 or more")
        if not 0 < self.divisor < math.inf:
            raise FreelightError(f"lighting `divisor` (={self.divisor}) must be positive")

    def deviations(self, statistics: Statistics) -> npt.NDArray[np.float64]:
        """Return the noise's standard deviations along the three principal axes, grey levels: (3,)."""
        if self.mode == "off":
            return np.zeros(3)
        sizes = statistics.eigenvalue_roots if self.mode == "std" else statistics.eigenvalues / 255
        return self.strength * sizes

    def shifts(self, draws: npt.NDArray[np.float32], statistics: Statistics) -> npt.NDArray[np.float32]:
        """Turn standard normal draws (n, 3), one per axis, into RGB shifts (n, 3) in grey levels (0-255)."""
        shifts = (draws * self.deviations(statistics)) @ statistics.eigenvectors.T
        return shifts.astype(np.float32)

    def feeds(self) -> dict[str, Feed]:
        """Return the type of the RGB shift, grey levels."""
        return {"light": Feed("float32", 1)}

    def choose(self, draws: EpochDraws, context: Context) -> Arrays:
        """Return the shifts of all samples."""
        return {"light": self.shifts(draws.lighting, context.required_statistics)}
