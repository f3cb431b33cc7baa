"""Figures show what they claim: colour where there is colour, lines where the points are, within the width."""

import numpy as np
import pytest
import torch

from freelight.train import EpochMetrics, Errors, RunMetrics, StepMetrics
from freelight.train.evaluation import ClassScore
from freelight.train.inspection import (
    COLOURS,
    NARROW,
    WIDE,
    Series,
    Style,
    class_error_bars,
    line_chart,
    training_curves,
)
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
    """Kernels of one colour each, which are counted in the picture."""
    kernels = torch.zeros(96, 3, 11, 11)
    for index in range(96):
        kernels[index] = (torch.tensor([255, 2.0 * index + 1, 40]) / 127.5 - 1)[:, None, None]
    drawn = np.asarray(labelled_kernel_grids(kernels, columns=2, pixels=style.pixels, text=style.text)).reshape(-1, 3)
    found = {int(green) for red, green, blue in np.unique(drawn, axis=0) if (red, blue) == (255, 40)}
    assert len(found) == 96
    assert labelled_kernel_grids(kernels, columns=2, pixels=style.pixels, text=style.text).width <= style.pixels
    assert kernel_grid(kernels, columns=2, across=8).width < kernel_grid(kernels, columns=2).width


def test_a_chart_draws_a_falling_line_from_the_left_top_to_the_right_bottom() -> None:
    drawn = np.asarray(line_chart("loss", [Series(name="loss", points=[(0, 2), (10, 0)])], Style(pixels=600)))
    rows, columns = np.nonzero((drawn == COLOURS[0]).all(axis=2))
    order = np.argsort(columns)
    first, last = rows[order[:20]].mean(), rows[order[-20:]].mean()
    assert first < last
    assert columns.max() - columns.min() > 450


def step_metrics(step: int) -> StepMetrics:
    return StepMetrics(
        step=step,
        epoch=0,
        position=step,
        learning_rate=0.01,
        bias_learning_rate=0.01,
        loss=1.0,
        train_top1=0.5,
        images_per_second=1.0,
        images_per_second_without_wait=1.0,
        wait_share=0.0,
        gradient_norm=1.0,
        weight_norm=1.0,
    )


@pytest.mark.parametrize("style", [WIDE, NARROW])
def test_curves_are_as_wide_as_asked_also_of_a_run_that_measured_nothing(style: Style) -> None:
    steps = tuple(step_metrics(step) for step in (1, 2))
    epoch = EpochMetrics(step=2, epoch=0, val_top1=0.3, val_top5=0.0)
    for metrics in (RunMetrics(), RunMetrics(steps), RunMetrics(steps, (epoch,))):
        assert training_curves(metrics, style).width == style.pixels


def test_bars_of_classes_are_as_long_as_their_errors_the_worst_first() -> None:
    scores = [ClassScore(label=label, errors=Errors(10, wrong, 0), worst=None) for label, wrong in enumerate((2, 8, 0))]
    drawn = np.asarray(class_error_bars(scores, ["ant", "bee", "cat"], Style(pixels=600)))
    lengths = (drawn == COLOURS[1]).all(axis=2).sum(axis=1)
    bars = [int(lengths[row]) for row in range(1, len(lengths)) if lengths[row] and not lengths[row - 1]]
    assert len(bars) == 2
    assert bars[0] == pytest.approx(4 * bars[1], abs=4)
