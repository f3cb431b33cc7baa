"""Learning rates: by plateaus of the validation error, as in the paper, or by epoch, as in its authors' code."""

import math

import pytest

from freelight.train import RECIPES, LearningRates, Recipe

RECIPE = Recipe()


def rates(schedule: LearningRates, errors: list[float]) -> list[float]:
    """Return the rate after each epoch's error."""
    seen = []
    for error in errors:
        schedule.update(error)
        seen.append(schedule.base_rate(0, bias=False))
    return seen


def test_five_epochs_without_a_new_best_error_drop_the_rate() -> None:
    schedule = LearningRates(RECIPE)
    assert schedule.base_rate(0, bias=False) == 0.01
    assert rates(schedule, [0.9, 0.8, 0.85, 0.85, 0.85, 0.85]) == [0.01] * 6
    assert rates(schedule, [0.81]) == pytest.approx([0.001])


def test_a_new_best_error_starts_the_count_again_and_an_equal_one_does_not() -> None:
    schedule = LearningRates(RECIPE)
    assert rates(schedule, [0.9, 0.95, 0.95, 0.95, 0.95, 0.89]) == [0.01] * 6
    assert rates(schedule, [0.89] * 5) == pytest.approx([0.01] * 4 + [0.001])


def test_the_best_error_holds_across_drops() -> None:
    """After a drop, five epochs that do not beat the best error are a plateau, even if they beat the epochs before the
    drop."""
    schedule = LearningRates(RECIPE)
    rates(schedule, [0.5, *[0.9] * 5])
    assert rates(schedule, [0.6] * 5)[-1] == pytest.approx(0.0001)


def test_three_drops_and_the_fourth_plateau_ends_training() -> None:
    schedule = LearningRates(RECIPE)
    finished = []
    for _ in range(21):
        assert not schedule.finished(0)
        schedule.update(0.9)
        finished.append((schedule.drops, schedule.finished(0)))
    assert [drops for drops, _ in finished] == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5 + [4]
    assert [over for _, over in finished] == [False] * 20 + [True]


def test_a_state_taken_anywhere_goes_on_alike() -> None:
    errors = [0.9, 0.8, 0.85, 0.85, 0.7, *[0.71] * 12, 0.6, *[0.61] * 15]
    uncut = LearningRates(RECIPE)
    whole = rates(uncut, errors)
    for cut in range(len(errors)):
        first, second = LearningRates(RECIPE), LearningRates(RECIPE)
        begun = rates(first, errors[:cut])
        second.load_state_dict(first.state_dict())
        assert begun + rates(second, errors[cut:]) == whole
        assert second.state_dict() == uncut.state_dict()


def test_the_recipe_decides_patience_factor_and_drops() -> None:
    schedule = LearningRates(Recipe(learning_rate=1.0, plateau_epochs=1, plateau_factor=2.0, plateau_drops=1))
    assert rates(schedule, [0.9, 0.9]) == [1.0, 0.5]
    assert not schedule.finished(0)
    schedule.update(0.9)
    assert schedule.finished(0)


def by_epoch(recipe: str, parameter: str, epochs: int) -> list[float | None]:
    schedule = LearningRates(RECIPES[recipe])
    return [schedule.rate(parameter, epoch) for epoch in range(epochs)]


def test_source_drops_weights_thrice_and_biases_once_and_ends_after_91_epochs() -> None:
    """docs/design/paper.md section 4: at 25, 51 and 79; biases have a separate rate."""
    weights, biases = by_epoch("source", "fc8.weight", 91), by_epoch("source", "fc8.bias", 91)
    assert weights == pytest.approx([0.01] * 25 + [1e-3] * 26 + [1e-4] * 28 + [1e-5] * 12)
    assert biases == pytest.approx([0.02] * 25 + [0.002] * 66)
    schedule = LearningRates(RECIPES["source"])
    assert (schedule.finished(90), schedule.finished(91)) == (False, True)
    for _ in range(50):
        schedule.update(0.5)
    assert schedule.rate("fc8.weight", 0) == 0.01, "no plateau counts"


def test_source_slows_conv1_at_67_and_freezes_it_at_72() -> None:
    for parameter in ("conv1.weight", "conv1.bias"):
        assert by_epoch("source", parameter, 80)[66:] == [
            *by_epoch("source", f"fc8{parameter[5:]}", 67)[66:],
            *[1e-5] * 5,
            *[None] * 8,
        ]


def test_the_scripted_rates_fall_250_fold_in_four_equal_parts_of_90_epochs_and_biases_at_half_time() -> None:
    weights = by_epoch("source-scripted", "conv1.weight", 90)
    parts = [weights[first:last] for first, last in ((0, 23), (23, 45), (45, 68), (68, 90))]
    assert all(len(set(part)) == 1 for part in parts)
    first, second, third, fourth = (part[0] for part in parts)
    assert first == 0.01
    assert first / fourth == pytest.approx(250)
    assert first / second == pytest.approx(second / third) == pytest.approx(third / fourth)
    assert by_epoch("source-scripted", "conv1.bias", 90) == pytest.approx([0.02] * 45 + [0.002] * 45)


def test_layers_have_rates_of_their_own_the_longest_name_first() -> None:
    schedule = LearningRates(Recipe().override(["layer_rates=conv:0.1,conv1:0.01,fc8:10"]))
    rates = {name: schedule.rate(name, 0) for name in ("conv1.weight", "conv2.bias", "fc6.weight", "fc8.weight")}
    assert rates == pytest.approx({"conv1.weight": 1e-4, "conv2.bias": 1e-3, "fc6.weight": 0.01, "fc8.weight": 0.1})


def test_rates_that_no_float_can_hold_are_zero_or_infinite() -> None:
    for factor, rate in ((1e308, 0.0), (1e-308, math.inf)):
        schedule = LearningRates(Recipe(plateau_factor=factor), drops=3)
        assert schedule.base_rate(9, bias=False) == rate
