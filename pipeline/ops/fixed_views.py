"""The fixed views of evaluation: the central crop, and the paper's ten crops. Nothing is drawn."""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn

from ..draws import EpochDraws
from .context import GraphContext
from .crop import Crop, View, Window


@dataclass(frozen=True, kw_only=True)
class FixedViews(Crop):
    """Views at places that are the same for all images; each image is decoded once."""

    is_random: ClassVar[bool] = False

    @abc.abstractmethod
    def fixed_windows(self, image_size: int) -> list[Window]:
        """Return the windows in an image of side `image_size`, in order."""

    def nodes(self, jpeg: Any, fed: dict[str, Any], context: GraphContext) -> list[View]:
        """Decode the whole image; each view is cut and flipped by one kernel."""
        image = fn.decoders.image(jpeg, **context.decoding)
        span = max(1, self.span(context.image_size))
        views = []
        for window in self.fixed_windows(context.image_size):
            place = {
                "crop": (self.size, self.size),
                "crop_pos_y": window.top / span,
                "crop_pos_x": window.left / span,
            }
            views.append(View(image, int(window.flip), place, window, is_cut=False))
        return views

    def reference(
        self, image: npt.NDArray[np.uint8], draws: EpochDraws, sample: int
    ) -> list[tuple[npt.NDArray[np.uint8], Window]]:
        """Cut every window out of one decoded image (S, S, 3)."""
        return [(self.cut(image, window), window) for window in self.fixed_windows(image.shape[0])]


@dataclass(frozen=True, kw_only=True)
class CenterCrop(FixedViews):
    """The central square."""

    def fixed_windows(self, image_size: int) -> list[Window]:
        """Return the one window."""
        middle = self.span(image_size) // 2
        return [Window(middle, middle, False)]


@dataclass(frozen=True, kw_only=True)
class TenCrop(FixedViews):
    """The four corners and the centre, then their reflections (paper section 4.1)."""

    views: ClassVar[int] = 10

    def fixed_windows(self, image_size: int) -> list[Window]:
        """Return the ten windows, in order."""
        span = self.span(image_size)
        middle = span // 2
        corners = ((0, 0), (0, span), (middle, middle), (span, 0), (span, span))
        return [Window(top, left, flip) for flip in (False, True) for top, left in corners]
