"""The order of an epoch and its draws are pure functions, with the right distributions."""

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from freelight.pipeline import EpochDraws, RandomCrop, RandomResizedCrop, Transform, draw_epoch
from freelight.pipeline.draws import share_of
from freelight.shards import FreelightError

MANY = 200_000
OFFSETS = 33  # of a 224 crop in 256 pixels


def offsets_of(draws: EpochDraws, size: int = 224) -> npt.NDArray[np.int32]:
    return Transform(crop=RandomCrop(size=size)).windows(draws, 256)[:, :2]


def test_every_epoch_is_another_permutation() -> None:
    orders = [draw_epoch(1000, seed=0, epoch=epoch).order for epoch in range(5)]
    for order in orders:
        assert order.dtype == np.int32
        assert np.array_equal(np.sort(order), np.arange(1000))
    for a in range(5):
        for b in range(a):
            same = np.count_nonzero(orders[a] == orders[b])
            assert same < 10, f"epochs {b} and {a} agree in {same} of 1,000 places"


def test_an_epoch_is_a_function_of_seed_and_epoch_alone() -> None:
    first, again = (draw_epoch(500, seed=3, epoch=7) for _ in range(2))
    for name in ("order", "crop", "flip", "lighting"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
    for seed, epoch in ((3, 8), (4, 7), (7, 3)):
        other = draw_epoch(500, seed=seed, epoch=epoch)
        for name in ("order", "crop", "flip", "lighting"):
            assert not np.array_equal(getattr(first, name), getattr(other, name)), (name, seed, epoch)


def test_the_draws_are_the_ones_they_were() -> None:
    """If this fails, a run started with an older version (or numpy) would resume with the wrong samples."""
    draws = draw_epoch(1000, seed=1, epoch=2)
    assert draws.order[:5].tolist() == [118, 324, 428, 696, 857]
    checksums = [zlib.crc32(getattr(draws, name)) for name in ("order", "crop", "flip")]
    assert checksums == [1830748709, 3390466741, 905286119]
    assert draws.lighting[0] == pytest.approx([-0.338859, -0.755686, -0.175992], abs=1e-6)


def test_each_occurrence_of_a_sample_has_draws_of_its_own() -> None:
    """The order stays, and (0, 0) keeps the draws of version 0.1."""
    draws = draw_epoch(500, seed=3, epoch=7, order="sequential")
    crop = RandomResizedCrop(interpolation="random")
    keys = [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0)]
    found = [draws.occurrence(repeat=repeat, view=view) for repeat, view in keys]
    for name, values in {
        "crop": [other.crop for other in found],
        "flip": [other.flip for other in found],
        "lighting": [other.lighting for other in found],
        "sides": [crop.windows(other, 256)[:, 2:] for other in found],
        "filter": [crop.choose(other, 256)["filter"] for other in found],
        "op": [other.stream("op", 0).table(500, lambda rng, count: {"x": rng.random(count)})["x"] for other in found],
    }.items():
        assert len({value.tobytes() for value in values}) == len(keys), name
    assert all(other.order is draws.order for other in found)
    back = found[3].occurrence()
    assert all(np.array_equal(getattr(back, name), getattr(draws, name)) for name in ("crop", "flip", "lighting"))


def test_draws_belong_to_samples_not_to_places_in_the_order() -> None:
    shuffled = draw_epoch(100, seed=0, epoch=1)
    written = draw_epoch(100, seed=0, epoch=1, order="sequential")
    assert np.array_equal(written.order, np.arange(100))
    for name in ("crop", "flip", "lighting"):
        assert np.array_equal(getattr(shuffled, name), getattr(written, name)), name

    for crop in (RandomCrop(), RandomCrop(shared_by=32), RandomResizedCrop()):
        transform = Transform(crop=crop, mean="none")
        assert np.array_equal(transform.windows(shuffled, 256), transform.windows(written, 256))
        assert np.array_equal(transform.flips(shuffled), transform.flips(written))


def test_all_33_offsets_are_equally_likely_both_ends_included() -> None:
    """Rounding a uniform number to the nearest offset would make both end offsets half as likely."""
    draws = draw_epoch(MANY, seed=0, epoch=0)
    offsets = offsets_of(draws)
    for axis in range(2):
        counts = np.bincount(offsets[:, axis], minlength=OFFSETS)
        assert len(counts) == OFFSETS
        assert scipy.stats.chisquare(counts).pvalue > 0.001, counts
        for end in (0, OFFSETS - 1):
            assert counts[end] == pytest.approx(MANY / OFFSETS, rel=0.05)
    pairs = np.bincount(offsets[:, 0] * OFFSETS + offsets[:, 1], minlength=OFFSETS**2)
    assert scipy.stats.chisquare(pairs).pvalue > 0.001, "the two axes depend on each other"


def test_the_largest_draw_is_still_an_offset() -> None:
    """float32 may round up: the largest draw below 1, times the number of offsets, must stay below that number."""
    draws = draw_epoch(1, seed=0, epoch=0)
    draws.crop[:] = np.nextafter(np.float32(1), np.float32(0))
    for crop in range(1, 257):
        assert offsets_of(draws, crop).tolist() == [[256 - crop, 256 - crop]]


@pytest.mark.parametrize("probability", [0.0, 0.5, 0.9, 1.0])
def test_flips_have_their_probability_and_nothing_to_do_with_the_offsets(probability: float) -> None:
    draws = draw_epoch(MANY, seed=0, epoch=0)
    offsets, flips = offsets_of(draws), Transform(flip_probability=probability).flips(draws)
    assert set(np.unique(flips)) <= {0, 1}
    sigma = np.sqrt(probability * (1 - probability) / MANY)
    assert abs(flips.mean() - probability) <= 4 * sigma
    if sigma:
        table = [np.bincount(offsets[flips == flip, 1], minlength=OFFSETS) for flip in (0, 1)]
        assert scipy.stats.chi2_contingency(table).pvalue > 0.001


def test_lighting_draws_are_standard_normal_and_independent() -> None:
    lighting = draw_epoch(MANY, seed=0, epoch=0).lighting.astype(np.float64)
    assert np.abs(lighting.mean(0)).max() < 0.01
    assert np.cov(lighting.T) == pytest.approx(np.eye(3), abs=0.01)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 128])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_the_ranks_share_a_batch_to_within_one_sample(size: int, world_size: int) -> None:
    batch = np.random.default_rng(0).permutation(1000)[:size].astype(np.int32)
    shares = [share_of(batch, rank, world_size) for rank in range(world_size)]
    assert np.array_equal(np.concatenate(shares), batch), "not the batch, or not in its order"
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "shuffled"}, "`order` 'shuffled' is not one of global, sequential"),
        ({"seed": -1}, r"`seed` \(=-1\) must be at least 0"),
        ({"seed": 0.5}, r"`seed` \(=0.5\) must be a whole number"),
        ({"epoch": -2}, r"`epoch` \(=-2\) must be at least 0"),
        ({"epoch": None}, r"`epoch` \(=None\) must be a whole number"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        draw_epoch(10, **{"seed": 0, "epoch": 0, **arguments})
