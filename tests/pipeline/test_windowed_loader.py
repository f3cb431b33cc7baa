"""A loader in the `windowed` order: the same samples on any ranks, resumed anywhere, with everything else as ever."""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freelight.pipeline import CenterCrop, Lighting, Loader, Transform, window_shards, windowed_order
from freelight.shards import Dataset, FreelightError
from freelight.shards.dataset import ahead

PIXELS = Transform(crop=CenterCrop(size=16), dtype="uint8", mean="none", lighting=Lighting(mode="off"))
SAMPLES = 60  # in four shards


def make(dataset: Dataset, **settings: Any) -> Loader:
    given = {"batch_size": 8, "transform": PIXELS, "order": "windowed", "window": 2, "extras": ("samples",)}
    return Loader(dataset, "train", **{**given, **settings})


def samples(loader: Loader, steps: int | None = None) -> list[list[int]]:
    """Return the samples of the next steps of an iteration."""
    found = []
    for batch in loader:
        found.append(batch.samples.tolist())
        if len(found) == steps:
            break
    return found


def test_an_epoch_is_the_pure_order(dataset: Dataset) -> None:
    loader = make(dataset, seed=3)
    for epoch in range(2):
        wanted = windowed_order(loader.split.samples["shard"], seed=3, epoch=epoch, window=2)
        assert np.array_equal(np.concatenate(samples(loader)), wanted)
        assert np.array_equal(loader.order_of(epoch), wanted)


def test_a_state_of_another_order_or_window_is_refused_in_one_line(dataset: Dataset) -> None:
    state = make(dataset).state_dict()
    assert (state["order"], state["window"]) == ("windowed", 2)
    assert make(dataset, window=0.5).state_dict() == state
    for other, named in (
        (make(dataset, window=3), "another window: 2, not 3;"),
        (make(dataset, order="global", window=None), "another order: 'windowed', not 'global';"),
    ):
        with pytest.raises(FreelightError, match=f"the loader's state is for {named}"):
            other.load_state_dict(state)
    with pytest.raises(FreelightError, match="another order: 'global', not 'windowed';"):
        make(dataset).load_state_dict(make(dataset, order="global", window=None).state_dict())


@pytest.mark.parametrize(("order", "window"), [("windowed", 0), ("windowed", 1.5), ("global", 2), ("sequential", 0.1)])
def test_a_wrong_window_is_refused_when_the_loader_is_made(order: str, window: Any, dataset: Dataset) -> None:
    with pytest.raises(FreelightError, match=r"`window` \(="):
        make(dataset, order=order, window=window)


LEG = st.tuples(st.integers(1, 4), st.integers(1, 30), st.integers(0, 12))
"""Number of ranks, samples in a global batch, and the steps after which the ranks are stopped."""


@pytest.mark.parametrize(("order", "window", "held"), [("windowed", 1, 2), ("sequential", None, 1)])
def test_a_step_of_all_samples_fits_into_the_smallest_cache(
    order: str,
    window: int | None,
    held: int,
    dataset: Dataset,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It reads the shards in the order in which they come, and needs each no more before it waits for the next.

    If it did not, it would say after 20 s that the cache is too small.
    """
    limit = sum(sorted(shard.bytes for shard in dataset.split("train").info.shards)[-held:])
    far = Dataset(dataset.folder.as_uri(), cache=tmp_path, cache_bytes=limit)
    loader = make(far, batch_size=SAMPLES, order=order, window=window, seed=1)
    assert sorted(*samples(loader)) == list(range(SAMPLES))
    assert caplog.records == []


def test_a_reader_that_others_leave_no_room_waits_only_so_long(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ahead, "PATIENCE", 0.2)
    one, other = dataset.split("train").info.shards[:2]
    cache = Dataset(dataset.folder.as_uri(), cache=tmp_path, cache_bytes=max(one.bytes, other.bytes)).cache
    assert cache is not None
    with contextlib.closing(ahead.FetchAhead(cache, [one, other])) as first:
        first.wait(one)
        with contextlib.closing(ahead.FetchAhead(cache, [other, one])) as second:
            second.wait(other)
            assert [cache.has(shard) for shard in (one, other)] == [True, False]
            os.close(cache.open_shard(other))  # in the place of the other one
            assert [cache.has(shard) for shard in (one, other)] == [False, True]
    assert [record.getMessage().partition(", which")[0] for record in caplog.records] == [
        f"the cache {cache.folder} is too small for its readers"
    ]


def test_what_was_used_is_kept_until_the_other_processes_begin(dataset: Dataset, tmp_path: Path) -> None:
    shards = dataset.split("train").info.shards[:3]
    two = sum(sorted(shard.bytes for shard in shards)[1:])
    cache = Dataset(dataset.folder.as_uri(), cache=tmp_path, cache_bytes=two).split("train").cache
    assert cache is not None
    first = ahead.FetchAhead(cache, shards, processes=2)
    try:
        first.wait(shards[0])
        first.finish(shards[:1])
        time.sleep(2 * ahead.LOOK)
        assert cache.has(shards[0])
        second = ahead.FetchAhead(cache, shards, processes=2)
        try:
            second.finish(shards[:1])
            first.wait(shards[2])
            assert [cache.has(shard) for shard in shards] == [False, True, True]
        finally:
            second.close()
    finally:
        first.close()


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    window=st.one_of(st.integers(1, 5), st.floats(0.01, 1)),
    epoch=st.integers(0, 3),
    repeats=st.sampled_from((1, 1, 2, 3)),
    interrupted=st.lists(LEG, max_size=3),
    last=LEG,
)
def test_any_chain_of_ranks_batches_and_interruptions_gives_the_one_order(
    dataset: Dataset,
    window: int | float,
    epoch: int,
    repeats: int,
    interrupted: list[tuple[int, int, int]],
    last: tuple[int, int, int],
) -> None:
    def ranks(world_size: int, batch_size: int) -> list[Loader]:
        return [
            make(
                dataset,
                window=window,
                batch_size=batch_size * repeats,
                repeats=repeats,
                rank=rank,
                world_size=world_size,
                last="short",
            )
            for rank in range(world_size)
        ]

    table = Dataset(dataset.folder).split("train").samples["shard"]
    wanted = windowed_order(table, seed=0, epoch=epoch, window=window_shards(window, 4))
    found: list[int] = []
    state: dict[str, Any] | None = None
    for world_size, batch_size, steps in [*interrupted, (*last[:2], SAMPLES)]:
        loaders = ranks(world_size, batch_size)
        for loader in loaders:
            if state is None:
                loader.set_epoch(epoch)
            else:
                loader.load_state_dict(state)
        if loaders[0].position == SAMPLES * repeats:  # the next iteration would be the next epoch's
            break
        for _, batches in zip(range(steps), zip(*loaders, strict=True), strict=False):
            repeated = np.concatenate([batch.samples for batch in batches]).reshape(repeats, -1)
            assert (repeated == repeated[0]).all()
            found += repeated[0].tolist()
        state = loaders[0].state_dict()
    assert found == wanted.tolist()


@pytest.mark.slow
def test_decoded_pixels_groups_of_steps_and_repeats_see_the_one_order(dataset: Dataset, tmp_path: Path) -> None:
    plain = make(dataset)
    epochs = [np.concatenate(samples(plain)) for _ in range(2)]
    stored = make(dataset, decoded=tmp_path)
    assert np.array_equal(np.concatenate(samples(stored)), epochs[0])
    assert np.array_equal(np.concatenate(samples(stored)), epochs[1]), "from the store"
    sub = make(dataset, steps_per_epoch=5)  # 8 steps are a permutation
    found = np.concatenate([np.concatenate(samples(sub)) for _ in range(3)])
    assert np.array_equal(found, np.concatenate(epochs)[: len(found)])
