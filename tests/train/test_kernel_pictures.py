"""Pictures of kernels: how much colour there is, and every kernel within the width."""

import numpy as np
import pytest
import torch

from freelight.train.inspection import NARROW, WIDE, Style
from freelight.train.kernel_pictures import colour_share, kernel_grid, labelled_kernel_grids


def test_colour_share_is_0_of_grey_1_of_pure_colour_and_two_thirds_of_noise() -> None:
    noise = torch.randn(2000, 3, 11, 11, generator=torch.Generator().manual_seed(0))
    grey = noise[:, :1].expand(-1, 3, -1, -1)
    colour = noise - noise.mean(dim=1, keepdim=True)
    for kernels, expected in ((grey, 0.0), (colour, 1.0), (noise, 2 / 3)):
        scores = colour_share(kernels)
        assert scores.shape == (2000,)
        assert float(scores.mean()) == pytest.approx(expected, abs=2e-3)
        torch.testing.assert_close(scores, colour_share(7 * kernels))


@pytest.mark.parametrize("style", [WIDE, NARROW, Style(pixels=390)])
def test_the_kernels_of_each_column_keep_to_the_width_and_none_is_left_out(style: Style) -> None:
    """Each kernel has one colour, and the colours in the picture are counted."""
    kernels = torch.zeros(96, 3, 11, 11)
    for index in range(96):
        kernels[index] = (torch.tensor([255, 2.0 * index + 1, 40]) / 127.5 - 1)[:, None, None]
    drawn = np.asarray(labelled_kernel_grids(kernels, columns=2, pixels=style.pixels, text=style.text)).reshape(-1, 3)
    found = {int(green) for red, green, blue in np.unique(drawn, axis=0) if (red, blue) == (255, 40)}
    assert len(found) == 96
    assert labelled_kernel_grids(kernels, columns=2, pixels=style.pixels, text=style.text).width <= style.pixels


def test_kernels_stand_in_rows_each_scaled_by_its_largest_weight() -> None:
    """Five kernels of 3 x 3, four in a row, at ten pixels a weight, with gaps of two."""
    kernels = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    grid = kernel_grid(kernels, scale=10, across=4)
    assert grid.size == (2 + 4 * 32, 2 + 2 * 32)
    pixel = grid.getpixel((2 + 10 * 2, 2 + 32 + 10 * 1))  # of the last kernel, at row 1 and column 2
    assert pixel == tuple((127.5 * (1 + kernels[4, :, 1, 2] / kernels[4].abs().max())).round().int().tolist())
    assert grid.getpixel((2 + 32, 2 + 32)) == (255, 255, 255)
