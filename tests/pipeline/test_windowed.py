"""The `windowed` order: every occurrence once, from a window of shards that slides over a drawn order of shards."""

import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from freelight.pipeline import windowed_order
from freelight.pipeline.windowed import window_shards
from freelight.shards import FreelightError

SHARDS = np.repeat(np.arange(40), 50)


def held(order: npt.NDArray[np.int32], shards: npt.NDArray[Any]) -> int:
    """Return the largest number of shards that have been begun and are not finished, at any place of an order."""
    of = shards[order].tolist()
    last = {shard: place for place, shard in enumerate(of)}
    open_, most = set(), 0
    for place, shard in enumerate(of):
        open_.add(shard)
        most = max(most, len(open_))
        if last[shard] == place:
            open_.remove(shard)
    return most


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=30), st.integers(1, 40), st.integers(0, 2**40), st.integers(0, 9)
)
def test_every_occurrence_comes_once_and_no_more_shards_are_held_than_the_window(
    sizes: list[int], window: int, seed: int, epoch: int
) -> None:
    """Also with shards of any sizes, empty ones among them, and in any order, as sampling plans leave them."""
    shards = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    order = windowed_order(shards, seed=seed, epoch=epoch, window=window)
    assert order.dtype == np.int32
    assert np.array_equal(np.sort(order), np.arange(len(shards)))
    assert held(order, shards) <= window
    assert np.array_equal(order, windowed_order(shards, seed=seed, epoch=epoch, window=window))


def test_the_orders_are_the_ones_they_were() -> None:
    """If this fails, a run started with an older version (or numpy) would resume with the wrong samples."""
    assert zlib.crc32(windowed_order(SHARDS, seed=1, epoch=2, window=4)) == 1568658270


def test_seed_epoch_and_window_give_other_orders() -> None:
    keys = [(0, 0, 4), (1, 0, 4), (0, 1, 4), (0, 0, 5), (0, 0, 1), (0, 0, 40)]
    orders = [windowed_order(SHARDS, seed=seed, epoch=epoch, window=window) for seed, epoch, window in keys]
    assert len({order.tobytes() for order in orders}) == len(keys)


def test_a_window_of_one_shard_is_shard_by_shard_and_one_of_all_is_any_order() -> None:
    one = SHARDS[windowed_order(SHARDS, seed=0, epoch=0, window=1)]
    assert np.count_nonzero(np.diff(one)) == 39
    places = np.argsort(windowed_order(SHARDS, seed=0, epoch=0, window=40))
    first = np.array([part.mean() for part in places.reshape(40, 50)])
    assert abs(first - 1000).max() < 5 * 2000 / 12**0.5 / 50**0.5


def test_each_step_of_the_window_draws_equally_from_its_shards() -> None:
    """200 shards of 500 and a window of 20: shards at the places j to j + 19 of the drawn order share step j."""
    shards = np.repeat(np.arange(200), 500)
    of = shards[windowed_order(shards, seed=0, epoch=0, window=20)]
    first = {int(shard): place for place, shard in reversed(list(enumerate(of)))}
    # From the first step to the last, an eighth of the epoch at a time: neighbours are no more often of one shard.
    pairs = [np.mean(part[1:] == part[:-1]) for part in np.array_split(of, 8)]
    assert np.allclose(pairs, 1 / 20, rtol=0.2), pairs
    # Shards enter evenly, so that what a store must deliver is even.
    entered = np.sort(list(first.values()))[20:]
    steps = np.diff(entered)
    assert 300 < steps.mean() < 600
    assert steps.max() < 1500
    middle = int(of[50_000])
    times = np.flatnonzero(of == middle)
    assert scipy.stats.kstest((times - times[0]) / (times[-1] - times[0]), "uniform").pvalue > 0.001


def test_imagenet_takes_less_than_a_second_and_200_mb() -> None:
    shards = np.repeat(np.arange(1282, dtype=np.uint32), 1000)[:1_281_167]
    tracemalloc.start()
    begin = time.process_time()
    windowed_order(shards, seed=0, epoch=0, window=128)
    seconds = time.process_time() - begin
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds <= 1
    assert peak <= 200e6


@pytest.mark.parametrize(
    ("window", "shards", "expected"),
    [
        (0.1, 1282, 128),
        (0.1, 3, 1),
        (0.25, 10, 3),
        (1.0, 7, 7),
        (1, 7, 1),
        (12, 7, 7),
        (np.int64(3), 7, 3),
        (0.5, 1, 1),
    ],
)
def test_a_window_is_a_fraction_or_a_number_of_shards(window: Any, shards: int, expected: int) -> None:
    assert window_shards(window, shards) == expected


@pytest.mark.parametrize("window", [0.0, -0.1, 1.5, float("nan"), 0, -3, "10%", None, True])
def test_a_wrong_window_is_one_line(window: Any) -> None:
    with pytest.raises(FreelightError, match=r"`window` \(=.*\) must be"):
        window_shards(window, 10)
