"""A share of the images without colour."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn, types

from .context import Context, GraphContext
from .op import Arrays, Feed
from .random_op import RandomOp

LUMA = np.array((0.299, 0.587, 0.114))
"""Weights of R, G, B in grey (ITU-R BT.601), as in Pillow and torchvision."""


@dataclass(frozen=True, kw_only=True)
class Grayscale(RandomOp):
    """Set all channels to the grey value 0.299 R + 0.587 G + 0.114 B, with probability `p`."""

    name = "grayscale"
    stage = "pixels"

    p: float = 0.1

    def choose(self, drawn: Arrays, context: Context) -> Arrays:
        """Return 255, which selects the grey value, or 0."""
        return {"mask": np.where(self.is_changed(drawn), 255, 0).astype(np.uint8)}

    def feeds(self) -> dict[str, Feed]:
        """Return the type of the mask."""
        return {"mask": Feed("uint8")}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        """Select between image and grey bit by bit: arithmetic on bytes is faster than in float32."""
        return image ^ ((image ^ grey_node(image)) & context.on_device(fed["mask"]))

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        """Do the same in numpy."""
        return grey_of(image).repeat(3, axis=2) if chosen["mask"] else image


def grey_node(image: Any) -> Any:
    """Return the node of the grey values of a uint8 "HWC" node, in three equal channels."""
    grey = fn.color_space_conversion(image, image_type=types.RGB, output_type=types.GRAY)
    return fn.color_space_conversion(grey, image_type=types.GRAY, output_type=types.RGB)


def grey_of(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the grey values of uint8 (H, W, 3): uint8 (H, W, 1)."""
    grey: npt.NDArray[np.uint8] = np.rint(image @ LUMA).astype(np.uint8)
    return grey[..., None]
