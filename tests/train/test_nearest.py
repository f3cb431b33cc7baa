"""Neighbours equal those of plain loops for any chunks; codes keep the neighbours."""

import numpy as np
import pytest
import torch

from freelight.pipeline.pictures import one_of_each_class
from freelight.shards import FreelightError
from freelight.train.inspection import (
    CodeConfig,
    nearest,
    nearest_codes,
    nearest_vectors,
    precision,
    recall,
    train_codes,
)

RNG = np.random.default_rng(0)
BASE = RNG.standard_normal((500, 24)).astype(np.float32)
QUERIES = RNG.standard_normal((7, 24)).astype(np.float32)


def plain(queries: np.ndarray, base: np.ndarray, k: int) -> np.ndarray:
    return np.array(
        [
            np.argsort([np.linalg.norm(row.astype(np.float64) - query) for row in base], kind="stable")[:k]
            for query in queries
        ]
    )


@pytest.mark.parametrize("chunk", [7, 100, 500, 10_000])
@pytest.mark.parametrize("shift", [0, 1000])
def test_nearest_vectors_are_a_plain_loops_also_far_from_the_origin(chunk: int, shift: float) -> None:
    """Far from 0, float32 squares are too coarse for the differences."""
    base, queries = BASE + np.float32(shift), QUERIES + np.float32(shift)
    found = nearest_vectors(queries, base, 6, chunk=chunk)
    assert found.indices.tolist() == plain(queries, base, 6).tolist()
    expected = [
        [np.linalg.norm(base[i].astype(np.float64) - q) for i in row]
        for row, q in zip(found.indices, queries, strict=True)
    ]
    np.testing.assert_allclose(found.distances, expected)


def test_of_equally_near_rows_the_first_comes_first() -> None:
    base = np.repeat(BASE[:3], 5, axis=0)
    assert nearest_vectors(BASE[1:2], base, 7, chunk=4).indices[0, :5].tolist() == [5, 6, 7, 8, 9]
    codes = np.packbits(base > 0, axis=1)
    assert nearest_codes(codes[5:6], codes, 5, chunk=4).indices[0].tolist() == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("bits", [8, 24, 64, 256])
@pytest.mark.parametrize("chunk", [7, 500])
def test_nearest_codes_are_those_with_the_fewest_bits_that_differ(bits: int, chunk: int) -> None:
    base, queries = RNG.integers(0, 2, (300, bits)), RNG.integers(0, 2, (5, bits))
    found = nearest_codes(np.packbits(queries, axis=1).astype(np.uint8), np.packbits(base, axis=1), 9, chunk=chunk)
    for row, distances, query in zip(found.indices, found.distances, queries, strict=True):
        differ = (base != query).sum(axis=1)
        assert row.tolist() == np.argsort(differ, kind="stable")[:9].tolist()
        assert distances.tolist() == differ[row].tolist()


def test_more_neighbours_than_rows_are_an_error() -> None:
    with pytest.raises(FreelightError, match=r"`k` \(=501\) must be in 1\.\.500"):
        nearest_vectors(QUERIES, BASE, 501)
    assert nearest_vectors(QUERIES, BASE, 500).indices.shape == (7, 500)


def test_more_queries_than_a_block_are_answered_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK", 3)
    assert nearest_vectors(QUERIES, BASE, 6).indices.tolist() == plain(QUERIES, BASE, 6).tolist()
    codes, asked = (np.packbits(vectors > 0, axis=1) for vectors in (BASE, QUERIES))
    alone = [nearest_codes(one[None], codes, 6).indices[0].tolist() for one in asked]
    assert nearest_codes(asked, codes, 6).indices.tolist() == alone


def test_recall_and_precision_of_a_case_counted_by_hand() -> None:
    assert recall(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[3, 9], [4, 5]])) == 3 / 4
    labels = np.array([0, 0, 1, 1])
    assert precision(np.array([[0, 1], [0, 3]]), labels, np.array([0, 1])) == 3 / 4


def test_examples_are_of_as_many_classes_as_possible() -> None:
    assert one_of_each_class(np.array([1, 1, 0, 2, 0, 2]), 4) == [0, 2, 3, 1]


def clusters() -> tuple[np.ndarray, np.ndarray]:
    """40 clusters on a plane of 6 dimensions in 30: vectors (2000, 30) and the cluster of each."""
    rng = np.random.default_rng(1)
    of = rng.integers(0, 40, 2000)
    plane = (rng.standard_normal((40, 6))[of] + 0.1 * rng.standard_normal((2000, 6))) @ rng.standard_normal((6, 30))
    return plane.astype(np.float32) + 5, of


def test_codes_find_most_neighbours_and_more_bits_find_more() -> None:
    vectors, of = clusters()
    exact = nearest_vectors(vectors[:100], vectors, 10).indices
    recalls = []
    for bits in (16, 64):
        coder = train_codes(vectors, CodeConfig(bits=bits, hidden=64, steps=300))
        codes = coder.encode(vectors)
        assert codes.shape == (2000, bits // 8)
        found = nearest_codes(codes[:100], codes, 50).indices
        recalls.append(recall(found, exact))
        assert precision(found[:, :10], of, of[:100]) > 0.8
    by_chance = 50 / 2000
    assert 10 * by_chance < recalls[0] < recalls[1]


def test_codes_are_the_same_for_the_same_seed_alone() -> None:
    vectors, _ = clusters()
    codes = [
        train_codes(vectors, CodeConfig(bits=16, hidden=8, steps=20, seed=seed)).encode(vectors) for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(codes[0], codes[1])
    assert (codes[0] != codes[2]).any()
    state = torch.get_rng_state()
    train_codes(vectors, CodeConfig(bits=16, hidden=8, steps=2))
    assert torch.equal(torch.get_rng_state(), state), "nobody else's random numbers are used"
    with pytest.raises(FreelightError, match=r"`bits` \(=12\) must be a multiple of 8"):
        CodeConfig(bits=12)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_vector_that_is_not_finite_is_named_not_found(value: float) -> None:
    vectors, _ = clusters()
    vectors[1500, 3] = value
    with pytest.raises(FreelightError, match="row 1500 of the vectors is not finite, or too large"):
        nearest_vectors(vectors[:10], vectors, 3, chunk=400)
    if not np.isfinite(value):
        with pytest.raises(FreelightError, match="a query's vector is not finite"):
            nearest_vectors(vectors[1500:1501], vectors[:1000], 3)
