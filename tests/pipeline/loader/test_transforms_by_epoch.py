"""A transform by epoch: what each epoch gets, and what a state must be of."""

import dataclasses
import gc
import json
import os
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from loading import SMALL, Seen, make

from freelight.pipeline import (
    CenterCrop,
    ColorJitter,
    Crop,
    Loader,
    RandomCrop,
    RandomResizedCrop,
    Schedule,
    Transform,
    draw_epoch,
)
from freelight.shards import Dataset, FreelightError, Statistics

CENTER = dataclasses.replace(SMALL, crop=CenterCrop(size=96))
JITTERED = dataclasses.replace(SMALL, crop=RandomResizedCrop(size=64), ops=(ColorJitter(brightness=0.4),))
BY_EPOCH = Schedule({0: SMALL, 1: JITTERED, 2: CENTER})


def test_every_transform_is_checked_when_the_loader_is_made(dataset: Dataset, statistics: Statistics) -> None:
    large = dataclasses.replace(SMALL, crop=CenterCrop(size=257))
    with pytest.raises(FreelightError, match="a crop of 257 pixels does not"):
        make(dataset, transform=Schedule({0: SMALL, 80: large}))
    loader = make(dataset, transform=Schedule({0: SMALL, 80: Transform()}))
    assert loader.statistics is not None, "the last transform needs them"
    with pytest.raises(AttributeError, match="transform is read-only; give the Loader a Schedule of transforms"):
        loader.transform = CENTER  # type: ignore[misc]
    assert loader.schedule == pickle.loads(pickle.dumps(loader)).schedule


def batches(loader: Loader, *, stop: int = 99) -> list[tuple[int, Seen]]:
    """Return epoch and content of at most `stop` batches, up to the end of epoch 2."""
    seen: list[tuple[int, Seen]] = []
    while len(seen) < stop and not (loader.epoch == 2 and loader.position == 60):
        for batch in loader:
            seen.append((loader.epoch, Seen([batch])))
            if len(seen) == stop:
                break
    return seen


def test_each_epoch_has_its_transform_and_resumes_bit_equal_on_either_side(dataset: Dataset) -> None:
    """Stopped inside the epoch before a change, at the change itself, or after it."""
    whole = batches(make(dataset, transform=BY_EPOCH, batch_size=20))
    assert [epoch for epoch, _ in whole] == [0] * 3 + [1] * 3 + [2] * 3
    for epoch in (1, 2):
        loader = make(dataset, transform=BY_EPOCH.at(epoch), batch_size=20)
        loader.set_epoch(epoch)
        assert [Seen([batch]) for batch in loader] == [seen for number, seen in whole if number == epoch]
    for stop in (2, 3, 4):
        loader = make(dataset, transform=BY_EPOCH, batch_size=20)
        before, state = batches(loader, stop=stop), json.loads(json.dumps(loader.state_dict()))
        other = make(dataset, transform=BY_EPOCH, batch_size=20)
        other.load_state_dict(state)
        assert before + batches(other) == whole


@pytest.mark.parametrize("stop", [2, 3])
def test_a_change_comes_at_the_same_place_on_other_ranks(stop: int, dataset: Dataset) -> None:
    """Stopped inside epoch 0, and at its end; resumed on three ranks, with other batches."""
    loader = make(dataset, transform=BY_EPOCH)
    whole = [(epoch, item) for epoch, seen in batches(loader, stop=8) for item in seen.items()]
    loader = make(dataset, transform=BY_EPOCH, batch_size=20)
    found = [(epoch, item) for epoch, seen in batches(loader, stop=stop) for item in seen.items()]
    for rank in range(3):
        other = make(dataset, transform=BY_EPOCH, batch_size=7, rank=rank, world_size=3)
        other.load_state_dict(loader.state_dict())
        while other.epoch < 1 or other.position < 60:
            found += [(other.epoch, item) for batch in other for item in Seen([batch]).items()]
    assert sorted(found) == sorted(whole)


def test_inside_an_epoch_a_state_is_of_that_epochs_transform(dataset: Dataset) -> None:
    """What a schedule says about other epochs may change."""
    loader = make(dataset, transform=BY_EPOCH)
    loader.set_epoch(1)
    next(iter(loader))
    inside = loader.state_dict()
    list(loader)
    end = loader.state_dict()
    for other in (JITTERED, Schedule({0: CENTER, 1: JITTERED, 3: SMALL})):
        make(dataset, transform=other).load_state_dict(inside)
    late = make(dataset, transform=Schedule({0: SMALL, 2: JITTERED}))
    with pytest.raises(FreelightError, match=r"for another transform: .*RandomResizedCrop.*, not .*RandomCrop"):
        late.load_state_dict(inside)
    late.load_state_dict(end)


def test_sub_epochs_of_one_permutation_have_transforms_of_their_own(dataset: Dataset) -> None:
    loader = make(dataset, transform=Schedule({0: SMALL, 1: CENTER}), steps_per_epoch=2)
    first, second = Seen(loader), Seen(loader)
    assert [*first, *second] == draw_epoch(60, seed=0, epoch=0).order.tolist()
    assert first.items() <= Seen(make(dataset)).items()
    assert second.items() <= Seen(make(dataset, transform=CENTER)).items()


def test_the_pipeline_of_a_past_transform_is_freed_at_once(dataset: Dataset) -> None:
    loader = make(dataset, transform=BY_EPOCH)
    gc.collect()
    gc.disable()
    try:
        past = []
        for _ in range(3):
            list(loader)
            assert loader._idle is not None
            past.append(weakref.ref(loader._idle._graphs[0].pipeline))
        assert [pipeline() is None for pipeline in past] == [True, True, False]
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("crop", [RandomCrop, RandomResizedCrop])
def test_twenty_changes_of_size_leave_the_memory_as_it_was(crop: Callable[..., Crop], dataset: Dataset) -> None:
    """A pipeline holds some 20 MB here. The first ten changes fill the allocator's arenas."""
    sizes = [(160, 224)[epoch % 2] for epoch in range(31)]
    schedule = Schedule({epoch: dataclasses.replace(SMALL, crop=crop(size=side)) for epoch, side in enumerate(sizes)})
    loader = make(dataset, transform=schedule, batch_size=60)
    resident = []
    for side in sizes:
        for batch in loader:
            assert batch.images.shape[-1] == side
        del batch
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
    assert resident[-1] - resident[10] < 100, resident
