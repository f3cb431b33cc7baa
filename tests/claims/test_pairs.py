"""Pairs of runs: difference, standard error, noise, and which effect would have been found."""

import math
from collections.abc import Sequence
from statistics import stdev

import numpy as np
import pytest
from scipy import stats

from freelight.claims.pairs import Pairs


def pairs_of(base: Sequence[float | None], other: Sequence[float | None], images: int = 1000) -> Pairs:
    return Pairs(names=("with", "without"), base=base, other=other, images=images, split="val")


def test_pairs_give_the_mean_difference_its_standard_error_and_students_interval() -> None:
    """Against the formulas; t of two degrees of freedom is 4.303 at 95 %."""
    pairs = pairs_of([0.10, 0.12, 0.14], [0.13, 0.14, 0.18])
    differences = [3.0, 2.0, 4.0]
    assert pairs.differences == pytest.approx(differences)
    error = stdev(differences) / math.sqrt(3)
    assert pairs.spread.standard_error == pytest.approx(error)
    assert pairs.spread.margin == pytest.approx(4.303 * error, rel=1e-3)
    assert pairs.within_noise is False
    assert (
        pairs.verdict()
        == "+3.00 +- 0.58 points (standard error) over 3 seeds, 95 % interval +0.52..+5.48 over seeds alone, on these "
        "1,000 val images: more than noise; 3.26 points or more would be found with 80 % power"
    )
    assert pairs.less(2) == "+1.00"
    assert ": within noise; " in pairs_of([0.10, 0.12, 0.14], [0.10, 0.13, 0.18]).verdict()
    assert "is unknown" in pairs_of([0.1], [0.2]).verdict()


def test_pairs_say_which_effect_would_be_found_four_times_in_five() -> None:
    """Against experiments drawn with that effect, and the noise that the pairs show."""
    pairs = pairs_of([0.10, 0.12, 0.14], [0.13, 0.14, 0.18])
    assert pairs.detectable is not None
    drawn = np.random.default_rng(0).normal(pairs.detectable, stdev(pairs.differences), (40_000, 3))
    found = stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.01)
    assert pairs.spread.seeds_for(1.001 * pairs.detectable) == 3
    needed = pairs.spread.seeds_for(0.7)
    drawn = np.random.default_rng(0).normal(0.7, stdev(pairs.differences), (10_000, needed))
    assert (stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.02)
    assert pairs.verdict(0.7).endswith(f", the paper's +0.7 with {needed} seeds")
    assert pairs.verdict(0.001).endswith(", the paper's +0.001 with more than 10,000 seeds")
    assert pairs_of([0.1], [0.2]).detectable is None


def test_pairs_that_differ_by_less_than_an_image_do_not_show_the_noise() -> None:
    """Two equal differences have no spread; one image of 200 is 0.5 points."""
    assert pairs_of([0.1, 0.1], [0.105, 0.105], images=200).within_noise is None
    assert pairs_of([0.1, 0.1], [0.105, 0.111], images=200).verdict().endswith("the size of the noise is unknown")
    assert pairs_of([0.1, 0.1], [0.105, 0.115], images=200).within_noise is True


def test_a_pair_of_which_one_diverged_is_left_out() -> None:
    pairs = pairs_of([0.10, None, 0.14], [0.13, 0.14, 0.18])
    assert pairs.differences == pytest.approx([3.0, 4.0])
    assert pairs.table()[-1][:3] == ("mean", "12.00", "15.50")
    assert pairs.verdict().endswith("; diverged and left out, with the other run of the pair: with at seed 1")
    assert pairs_of([None], [0.1]).less(2) == ""
