"""Errors, loss, tables and averages equal those of plain loops."""

import math

import numpy as np
import pytest
import torch

from freelight.shards import FreelightError
from freelight.train import Errors
from freelight.train.evaluation.ensembles import average, equal_weights, format_weights, read_weights, search_weights
from freelight.train.evaluation.scoring import (
    ClassScore,
    Confusion,
    Score,
    class_table,
    rank_labels,
    score,
    score_classes,
    worst_confusions,
)

RNG = np.random.default_rng(3)
PROBABILITIES = RNG.dirichlet(np.ones(8), 200).astype(np.float32)
LABELS = RNG.integers(0, 8, 200)


def test_a_score_is_that_of_a_plain_loop() -> None:
    order = np.argsort(-PROBABILITIES, axis=1, kind="stable")
    wrong = [sum(label not in row[:first] for row, label in zip(order, LABELS, strict=True)) for first in (1, 5)]
    found = score(rank_labels(PROBABILITIES, LABELS))
    assert found.errors == Errors(200, *wrong)
    loss = -sum(math.log(row[label]) for row, label in zip(PROBABILITIES, LABELS, strict=True)) / 200
    assert found.loss == pytest.approx(loss, rel=1e-6)


def test_a_probability_of_zero_is_a_large_loss_not_an_infinite_one() -> None:
    assert 80 < score(rank_labels(np.array([[0, 1]], np.float32), np.array([0]))).loss < 100


def test_where_probabilities_are_no_numbers_nothing_is_taken_for_anything() -> None:
    ranked = rank_labels(np.full((2, 3), np.nan, np.float32), np.array([0, 2]))
    assert score(ranked).errors == Errors(2, 2, 0)
    assert [scored.worst for scored in score_classes(ranked)] == [None, None]
    assert worst_confusions(ranked, 5) == []


def test_classes_and_confusions_of_a_case_counted_by_hand() -> None:
    """Class 0: two right, one taken for 1, two for 2. Class 1: right. Class 2: taken for 0. Class 3 has no images."""
    guesses = [0, 0, 1, 2, 2, 1, 0]
    labels = np.array([0, 0, 0, 0, 0, 1, 2])
    ranked = rank_labels(np.eye(4, dtype=np.float32)[guesses], labels)
    assert score_classes(ranked) == [
        ClassScore(label=0, errors=Errors(5, 3, 0), worst=Confusion(label=0, predicted=2, count=2, images=5)),
        ClassScore(label=1, errors=Errors(1, 0, 0), worst=None),
        ClassScore(label=2, errors=Errors(1, 1, 0), worst=Confusion(label=2, predicted=0, count=1, images=1)),
    ]
    assert worst_confusions(ranked, 2) == [
        Confusion(label=0, predicted=2, count=2, images=5),
        Confusion(label=0, predicted=1, count=1, images=5),
    ]
    names = ["ant", "bee", "cat", "dog", "eel", "fox"]
    table = class_table(score_classes(ranked), names).splitlines()
    assert [line.split()[0] for line in table] == ["class", "cat", "ant", "bee"]
    assert table[2].split() == ["ant", "5", "60.0%", "0.0%", "cat", "(2)"]
    assert class_table(score_classes(ranked), names[:5]).splitlines()[2].split() == ["ant", "5", "60.0%", "cat", "(2)"]


def test_a_top_5_error_is_shown_only_among_more_than_five_classes() -> None:
    measured = Score(errors=Errors(8, 4, 2), loss=0.5)
    assert measured.describe(6) == "top-1 error 50.00%, top-5 error 25.00%, loss 0.500"
    assert measured.describe(5) == "top-1 error 50.00%, loss 0.500"


def test_an_average_is_the_weighted_mean_of_probabilities() -> None:
    members = RNG.dirichlet(np.ones(8), (3, 50)).astype(np.float32)
    plain = 0.5 * members[0].astype(np.float64) + 0.3 * members[1] + 0.2 * members[2]
    np.testing.assert_allclose(average(members, read_weights("5,3,2", 3)), plain, atol=1e-7)
    np.testing.assert_allclose(average(members, equal_weights(3)), members.mean(axis=0), atol=1e-7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2", r"`weights` \(=1,2\) has 2 numbers for 3 networks"),
        ("a,b,c", "expected one number per network, separated by commas"),
        ("1,-1,1", "must be 0 or more, and not all 0"),
        ("0,0,0", "must be 0 or more, and not all 0"),
        ("nan,1,1", "must be 0 or more, and not all 0"),
    ],
)
def test_weights_that_are_none_are_an_error(text: str, message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        read_weights(text, 3)


def test_searched_weights_have_the_least_loss_of_all_on_a_grid() -> None:
    """Two useful networks and a random one, compared with every mixture in steps of 0.05."""
    truth = torch.nn.functional.one_hot(torch.from_numpy(LABELS), 8).numpy()
    members = np.stack([0.9 * RNG.dirichlet(np.full(8, 0.3), 200) + 0.1 * truth * scale for scale in (3, 5, 0)])
    members = (members / members.sum(axis=2, keepdims=True)).astype(np.float32)

    def loss(weights: np.ndarray) -> float:
        return score(rank_labels(average(members, weights), LABELS)).loss

    found = search_weights(members, LABELS)
    assert found.sum() == pytest.approx(1)
    grid = [np.array([a, b, 20 - a - b]) / 20 for a in range(21) for b in range(21 - a)]
    assert loss(found) <= min(map(loss, grid)) + 1e-6
    assert format_weights(np.array([0.5, 0.25, 0.25])) == "0.500,0.250,0.250"
