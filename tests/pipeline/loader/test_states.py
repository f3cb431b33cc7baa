"""The loader continues after any stop with exactly the samples not yet seen."""

import json
from typing import Any

import pytest
from loading import Seen, make, readers, resume

from freelight.pipeline import draw_epoch
from freelight.shards import Dataset, FreelightError


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_breaking_off_and_resuming_goes_on_after_the_last_batch(taken: int, dataset: Dataset, whole: Seen) -> None:
    """Batches that were read or decoded ahead but not returned are not lost."""
    loader = make(dataset)
    seen = Seen()
    for count, batch in enumerate(loader, 1):
        seen.add(batch)
        if count == taken:
            break
    assert readers() == []
    assert loader.position == 16 * taken
    assert seen.add_all(resume(loader)) == whole
    assert loader.position == 60


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 16), (3, 5), (2, 60), (1, 7)])
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_a_state_goes_on_with_exactly_the_samples_not_yet_seen(
    steps: int, world_size: int, batch_size: int, dataset: Dataset, whole: Seen
) -> None:
    """Stopped on two ranks with batches of 8, in epoch 0; resumed on others, through JSON, with the same pixels."""
    seen = Seen()
    states = []
    for rank in range(2):
        loader = make(dataset, batch_size=8, rank=rank, world_size=2)
        for _, batch in zip(range(steps), loader, strict=False):
            seen.add(batch)
        states.append(loader.state_dict())
    assert states[0] == states[1]
    assert states[0]["position"] == 8 * steps
    for rank in range(world_size):
        loader = make(dataset, batch_size=batch_size, rank=rank, world_size=world_size)
        loader.load_state_dict(json.loads(json.dumps(states[0])))
        assert loader.state_dict() == states[0]
        for batch in loader:
            seen.add(batch)
    assert seen == whole


def test_a_state_of_a_later_epoch_and_of_an_epochs_end(dataset: Dataset) -> None:
    loader = make(dataset)
    loader.set_epoch(3)
    first = next(iter(loader))
    middle = loader.state_dict()
    rest = Seen(resume(loader))
    end = loader.state_dict()

    other = make(dataset)
    other.load_state_dict(middle)
    assert other.epoch == 3
    assert Seen(other) == rest
    assert not set(first.samples.tolist()) & set(rest)
    other = make(dataset)
    other.load_state_dict(end)
    assert list(Seen(other)) == draw_epoch(60, seed=0, epoch=4).order.tolist()


def test_where_short_batches_are_dropped_a_state_goes_on_with_whole_ones_of_another_size(dataset: Dataset) -> None:
    loader = make(dataset, batch_size=8, last="drop")
    next(iter(loader))
    other = make(dataset, batch_size=16, last="drop")
    other.load_state_dict(loader.state_dict())
    assert [len(batch.samples) for batch in other] == [16, 16, 16]
    assert other.position == 56
    assert [len(batch.samples) for batch in other] == [16, 16, 16], "the next epoch"
    assert other.epoch == 1


@pytest.mark.parametrize(
    ("split", "changes", "reason"),
    [
        ("val", {}, "another split: 'train', not 'val'"),
        ("train", {"seed": 1}, "another seed: 0, not 1"),
        ("train", {"order": "sequential"}, "another order: 'global', not 'sequential'"),
    ],
)
def test_a_state_of_something_else_is_refused(
    split: str, changes: dict[str, Any], reason: str, dataset: Dataset
) -> None:
    state = make(dataset).state_dict()
    loader = make(dataset, split, **changes)
    before = loader.state_dict()
    with pytest.raises(FreelightError, match=reason):
        loader.load_state_dict({**state, "epoch": 5, "position": 16})
    assert loader.state_dict() == before, "a refused state leaves its mark"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"position": -1}, r"the loader's state: position \(=-1\) must be an integer in 0\.\."),
        ({"position": 4.0}, r"position \(=4.0\) must be an integer"),
        ({"position": 61}, r"`position` \(=61\) must be at most 60"),
        ({"position": None}, r"position \(=None\) must be an integer"),
        ({"epoch": float("nan")}, r"epoch \(=nan\) must be an integer"),
        ({"epoch": True}, r"epoch \(=True\) must be an integer"),
        ({"steps": 3}, "steps is unknown to this version; pass what state_dict returned"),
    ],
)
def test_a_damaged_state_is_refused_and_leaves_the_loader_as_it_was(
    changes: dict[str, Any], reason: str, dataset: Dataset
) -> None:
    loader = make(dataset)
    before = loader.state_dict()
    with pytest.raises(FreelightError, match=reason):
        loader.load_state_dict({**before, **changes})
    for state in ({}, None, [1]):
        with pytest.raises(FreelightError, match="the loader's state: "):
            loader.load_state_dict(state)  # type: ignore[arg-type]
    assert loader.state_dict() == before


def test_a_state_of_another_dataset_is_refused(dataset: Dataset, dataset_copy: Dataset) -> None:
    """A copy of the folder is the same dataset; one with another shard is not."""
    state = make(dataset).state_dict()
    make(dataset_copy).load_state_dict(state)
    path = dataset_copy.folder / "dataset.json"
    path.write_text(path.read_text().replace(dataset.manifest.splits["val"].shards[1].sha256, "0" * 64))
    with pytest.raises(FreelightError, match="another fingerprint"):
        make(Dataset(dataset_copy.folder)).load_state_dict(state)
