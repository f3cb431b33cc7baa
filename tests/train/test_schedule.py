"""The learning rate drops to a tenth when the validation error stops improving, three times; then training ends."""

import pytest

from freelight.train import Plateau, Recipe

RECIPE = Recipe()


def rates(schedule: Plateau, errors: list[float]) -> list[float]:
    """Return the rate after each epoch's error."""
    seen = []
    for error in errors:
        schedule.update(error)
        seen.append(schedule.learning_rate)
    return seen


def test_five_epochs_without_a_new_best_error_drop_the_rate() -> None:
    schedule = Plateau(RECIPE)
    assert schedule.learning_rate == 0.01
    assert rates(schedule, [0.9, 0.8, 0.85, 0.85, 0.85, 0.85]) == [0.01] * 6
    assert rates(schedule, [0.81]) == pytest.approx([0.001])


def test_a_new_best_error_starts_the_count_again_and_an_equal_one_does_not() -> None:
    schedule = Plateau(RECIPE)
    assert rates(schedule, [0.9, 0.95, 0.95, 0.95, 0.95, 0.89]) == [0.01] * 6
    assert rates(schedule, [0.89] * 5) == pytest.approx([0.01] * 4 + [0.001])


def test_the_best_error_holds_across_drops() -> None:
    """After a drop, five epochs better than those before it but not than the best are a plateau."""
    schedule = Plateau(RECIPE)
    rates(schedule, [0.5, *[0.9] * 5])
    assert rates(schedule, [0.6] * 5)[-1] == pytest.approx(0.0001)


def test_three_drops_and_the_fourth_plateau_ends_training() -> None:
    schedule = Plateau(RECIPE)
    finished = []
    for _ in range(21):
        assert not schedule.finished
        schedule.update(0.9)
        finished.append((schedule.drops, schedule.finished))
    assert [drops for drops, _ in finished] == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5 + [4]
    assert [over for _, over in finished] == [False] * 20 + [True]


def test_a_state_taken_anywhere_goes_on_alike() -> None:
    errors = [0.9, 0.8, 0.85, 0.85, 0.7, *[0.71] * 12, 0.6, *[0.61] * 15]
    uncut = Plateau(RECIPE)
    whole = rates(uncut, errors)
    for cut in range(len(errors)):
        first, second = Plateau(RECIPE), Plateau(RECIPE)
        begun = rates(first, errors[:cut])
        second.load_state_dict(first.state_dict())
        assert begun + rates(second, errors[cut:]) == whole
        assert second.state_dict() == uncut.state_dict()


def test_the_recipe_decides_patience_factor_and_drops() -> None:
    schedule = Plateau(Recipe(learning_rate=1.0, plateau_epochs=1, plateau_factor=2.0, plateau_drops=1))
    assert rates(schedule, [0.9, 0.9]) == [1.0, 0.5]
    assert not schedule.finished
    schedule.update(0.9)
    assert schedule.finished
