"""Charts show what they claim: lines where the points are, bars as long as the errors, within the width."""

import numpy as np
import pytest

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
from freelight.train.inspection.charts import decades


def test_a_chart_draws_a_falling_line_from_the_left_top_to_the_right_bottom() -> None:
    drawn = np.asarray(line_chart("loss", [Series(name="loss", points=[(0, 2), (10, 0)])], Style(pixels=600)))
    rows, columns = np.nonzero((drawn == COLOURS[0]).all(axis=2))
    order = np.argsort(columns)
    first, last = rows[order[:20]].mean(), rows[order[-20:]].mean()
    assert first < last
    assert columns.max() - columns.min() > 450


def test_a_logarithmic_axis_has_powers_of_ten_and_equal_ratios_are_equally_far() -> None:
    points = [(0, 1e-2), (1, 1e-2), (1, 1e-3), (2, 1e-3), (2, 1e-4), (3, 1e-4)]
    drawn = np.asarray(line_chart("rate", [Series(name="rate", points=points)], Style(pixels=600), logarithmic=True))
    lengths = (drawn == COLOURS[0]).all(axis=2).sum(axis=1)
    levels = [int(row) for row in np.flatnonzero(lengths > 100)]
    top, middle, bottom = levels[0], levels[len(levels) // 2], levels[-1]
    assert middle - top == pytest.approx(bottom - middle, abs=2)
    for low, high, expected in ((-4.0, -2.0, [-4, -3, -2]), (-1.7, -1.7, [-2, -1]), (-2.0, -2.0, [-3, -2])):
        assert decades(low, high) == expected
    assert len(decades(-30.0, 0.0)) <= 8


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
