"""Brightness and contrast as Pillow's ImageEnhance and torchvision change them, for `ColorJitter` and the policies."""

from typing import Any

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn, types

from .context import GraphContext
from .grayscale import grey_of

CUT = 0.498
"""Grey levels to subtract before rounding: it cuts fractions off, and leaves whole numbers as they are."""


def brightness_node(image: Any, factor: Any) -> Any:
    """Multiply a uint8 node by `factor`. DALI looks products of bytes up."""
    return fn.brightness_contrast(image, brightness=factor, brightness_shift=-CUT / 255)


def contrast_node(image: Any, factor: Any, context: GraphContext) -> Any:
    """Blend a uint8 "HWC" node with its mean grey value."""
    grey = fn.color_space_conversion(image, image_type=types.RGB, output_type=types.GRAY)
    center = context.as_argument(fn.reductions.mean(grey, axes=[0, 1, 2]))
    return fn.brightness_contrast(image, contrast=factor, contrast_center=center, brightness_shift=-CUT / 255)


def brightened(image: npt.NDArray[np.uint8], factor: np.float32) -> npt.NDArray[np.uint8]:
    """Do in numpy what `brightness_node` does."""
    return blended(image, np.float64(0), factor, CUT)


def contrasted(image: npt.NDArray[np.uint8], factor: np.float32) -> npt.NDArray[np.uint8]:
    """Do in numpy what `contrast_node` does."""
    return blended(image, grey_of(image).mean(), factor, CUT)


def blended(image: npt.NDArray[np.uint8], other: Any, factor: np.float32, cut: float = 0.0) -> npt.NDArray[np.uint8]:
    """Blend as ImageEnhance: factor 0 gives `other`, 1 the image, 2 the image away from `other`."""
    return as_bytes(other + np.float64(factor) * (image.astype(np.float64) - other) - cut)


def as_bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Round and clip to 0..255."""
    pixels: npt.NDArray[np.uint8] = np.rint(values).clip(0, 255).astype(np.uint8)
    return pixels
