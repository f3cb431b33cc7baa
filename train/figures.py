"""Pictures of what a network has learned."""

import io
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ..shards.atomic import atomic_write


def kernel_sheet(kernels: torch.Tensor, *, columns: int, scale: int = 4) -> Image.Image:
    """Draw RGB kernels (n, 3, k, k) as Figure 3 does: 16 a row, the network's columns below one another and apart.

    Each kernel is stretched to its own full range, zero staying grey. scale: pixels a weight.
    """
    n, _, k, _ = kernels.shape
    across = min(16, math.ceil(n / columns))
    rows = math.ceil(n / columns / across)
    side, gap = k * scale, 2
    sheet = Image.new(
        "RGB",
        (across * (side + gap) + gap, columns * rows * (side + gap) + gap + (columns - 1) * 4 * gap),
        "white",
    )
    for index, kernel in enumerate(kernels.detach().float().cpu()):
        column, place = divmod(index, n // columns)
        row, x = divmod(place, across)
        y = (column * rows + row) * (side + gap) + gap + column * 4 * gap
        sheet.paste(_picture(kernel).resize((side, side), Image.Resampling.NEAREST), (x * (side + gap) + gap, y))
    return sheet


def _picture(kernel: torch.Tensor) -> Image.Image:
    scaled = 127.5 * (1 + kernel / kernel.abs().max().clamp_min(1e-12))
    pixels: npt.NDArray[np.uint8] = scaled.round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels)


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a PNG file, whole or not at all."""
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", optimize=True)
    with atomic_write(path) as file:
        file.write(encoded.getvalue())
