"""Pictures of the first layer's kernels, as the paper's Figure 3, and how much of them is colour."""

import math
import textwrap

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ..pipeline.pictures import below, framed, text_box


def kernel_grid(kernels: torch.Tensor, *, scale: int, across: int) -> Image.Image:
    """Draw RGB kernels (n, 3, k, k) as Figure 3 does, `across` in a row, with gaps of two pixels.

    Each kernel is scaled by its largest absolute weight; a weight of 0 is mid-grey. scale: pixels per weight.
    """
    n, _, k, _ = kernels.shape
    across = min(across, n)
    pitch, gap = k * scale + 2, 2
    grid = Image.new("RGB", (across * pitch + gap, math.ceil(n / across) * pitch + gap), "white")
    for index, kernel in enumerate(kernels.detach().float().cpu()):
        row, column = divmod(index, across)
        drawn = _picture(kernel).resize((k * scale, k * scale), Image.Resampling.NEAREST)
        grid.paste(drawn, (column * pitch + gap, row * pitch + gap))
    return grid


def colour_share(kernels: torch.Tensor) -> torch.Tensor:
    """Return the share of each RGB kernel's energy that is colour: float64 (n,) of (n, 3, k, k), 0 grey, 1 pure colour.

    The colour of a weight is what remains after subtracting its mean over R, G and B. White noise has a share of 2/3.
    """
    kernels = kernels.detach().double().cpu()
    colour = kernels - kernels.mean(dim=1, keepdim=True)
    return colour.square().sum(dim=(1, 2, 3)) / kernels.square().sum(dim=(1, 2, 3)).clamp_min(1e-30)


def labelled_kernel_grids(kernels: torch.Tensor, *, columns: int, pixels: int = 1280, text: int = 15) -> Image.Image:
    """Draw the kernels of each network column, below a line with its number and their colour share.

    pixels: maximum width of the picture. text: height of a line, pixels.
    """
    boxes: list[Image.Image] = []
    k = kernels.shape[-1]
    inner = pixels - 2 * text
    for column, part in enumerate(kernels.chunk(columns)):
        shares = colour_share(part)
        name = f"column {column + 1}: " if columns > 1 else ""
        label = (
            f"{name}{len(part)} kernels, colour is {float(shares.mean()):.0%} of their energy "
            f"(median {float(shares.median()):.0%})"
        )
        across = next(across for across in (16, 12, 8, 6, 4, 1) if across * 3.2 * text <= inner or across == 1)
        scale = max(1, (inner // min(across, len(part)) - 2) // k)
        boxes += [
            *(text_box(line, text, width=inner) for line in textwrap.wrap(label, max(20, round(inner / text * 1.9)))),
            kernel_grid(part, scale=min(scale, 8), across=across),
        ]
    return framed(below(boxes, text // 2), text)


def _picture(kernel: torch.Tensor) -> Image.Image:
    scaled = 127.5 * (1 + kernel / kernel.abs().max().clamp_min(1e-12))
    pixels: npt.NDArray[np.uint8] = scaled.round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels)
