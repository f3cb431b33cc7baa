"""Fidelity of rescaled pictures before JPEG: PSNR against a float64 reference."""

import io
import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from freelight.shards.images import picture_formats

Matrix = npt.NDArray[np.float64]


def exact_rescale(data: bytes, size: int) -> Matrix:
    """Return the central `size` x `size` window of the whole picture scaled in float64: (size, size, 3) RGB, 0-255.

    The shorter side becomes `size`, the longer `round(size * long / short)`. Shrinking weights each pixel by its area
    inside the output pixel; enlarging is the cubic convolution with a = -1/2, which Pillow calls bicubic.
    """
    with Image.open(io.BytesIO(data), formats=picture_formats()) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.float64)
    height, width, _ = pixels.shape
    short = min(height, width)
    weights = _bicubic_weights if size > short else _area_weights
    new_height, new_width = (max(size, round(size * side / short)) for side in (height, width))
    rows = np.tensordot(weights(height, new_height), pixels, (1, 0))  # (new_height, width, 3)
    scaled: Matrix = np.tensordot(weights(width, new_width), rows, (1, 1)).transpose(1, 0, 2)
    top, left = (new_height - size) // 2, (new_width - size) // 2
    window: Matrix = scaled[top : top + size, left : left + size].clip(0, 255)
    return window


def psnr(pixels: npt.NDArray[np.uint8], exact: Matrix) -> float:
    """Return the peak signal-to-noise ratio, in dB. Rounding alone gives 58.9; equal pictures give 148."""
    error = float(np.square(pixels - exact).mean())
    return 10 * math.log10(255**2 / max(error, 1e-10))


def _area_weights(length: int, scaled: int) -> Matrix:
    """Return the (scaled, length) matrix of area weights: the share of each output pixel that an input pixel covers."""
    edges = np.arange(scaled + 1) * length / scaled
    pixel = np.arange(length)
    covered = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights: Matrix = np.clip(covered, 0, None) * scaled / length
    return weights


def _bicubic_weights(length: int, scaled: int) -> Matrix:
    """Return the (scaled, length) matrix of cubic convolution. At borders the weights are scaled to sum to 1."""
    centre = (np.arange(scaled) + 0.5) * length / scaled
    x = np.abs(np.arange(length) + 0.5 - centre[:, None])
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights: Matrix = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights
