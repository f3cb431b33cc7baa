"""Each iteration is a whole epoch; only the first after a loaded state continues inside one."""

import itertools
from typing import Any

import pytest
from loading import Seen, make, resume

from freelight.pipeline import Loader, draw_epoch
from freelight.shards import Dataset, FreelightError


def order(epoch: int) -> list[int]:
    """Return the order of the 60 samples of train."""
    return draw_epoch(60, seed=0, epoch=epoch).order.tolist()


def seen_by(loader: Loader, *, steps: int | None = None) -> list[int]:
    """Return the samples of an iteration, broken off after `steps` steps."""
    batches = itertools.islice(loader, steps)
    return [sample for batch in batches for sample in batch.samples.tolist()]


def test_breaking_off_and_iterating_again_is_the_whole_next_epoch(dataset: Dataset) -> None:
    """As in `limit_train_batches`, or where a framework looks at a first batch."""
    loader = make(dataset)
    assert seen_by(loader, steps=1) == order(0)[:16]
    assert seen_by(loader, steps=3) == order(1)[:48]
    assert seen_by(loader) == order(2)
    assert seen_by(loader) == order(3)
    assert loader.epoch == 3


def test_an_iterator_from_which_nothing_was_taken_counts_for_nothing(dataset: Dataset) -> None:
    loader = make(dataset)
    for _ in range(3):
        iter(loader)
    assert seen_by(loader, steps=0) == []
    assert seen_by(loader) == order(0)
    loader.load_state_dict({**loader.state_dict(), "epoch": 4, "position": 16})
    iter(loader)
    assert seen_by(loader, steps=0) == []
    assert seen_by(loader) == order(4)[16:]


def test_the_first_iteration_after_a_loaded_state_continues_and_the_second_does_not(dataset: Dataset) -> None:
    loader = make(dataset)
    loader.load_state_dict({**loader.state_dict(), "epoch": 2, "position": 16})
    assert seen_by(loader, steps=1) == order(2)[16:32]
    assert seen_by(loader) == order(3)


@pytest.mark.parametrize(
    ("named", "seen"), [(2, order(2)[16:]), (3, order(3)), (0, order(0))], ids=["own", "later", "earlier"]
)
def test_set_epoch_after_a_loaded_state_continues_its_own_epoch_alone(
    named: int, seen: list[int], dataset: Dataset
) -> None:
    """So `for epoch in range(loader.epoch, EPOCHS): loader.set_epoch(epoch)` resumes."""
    loader = make(dataset)
    loader.load_state_dict({**loader.state_dict(), "epoch": 2, "position": 16})
    loader.set_epoch(named)
    assert seen_by(loader) == seen
    loader.set_epoch(named)
    assert seen_by(loader) == order(named)


def test_a_state_at_an_epochs_end_has_nothing_left_of_the_epoch_that_set_epoch_names(dataset: Dataset) -> None:
    """A loop that saved after the last batch must not train on that epoch again."""
    loader = make(dataset)
    end = {**loader.state_dict(), "epoch": 2, "position": 60}
    loader.load_state_dict(end)
    seen = []
    for epoch in range(loader.epoch, 5):
        loader.set_epoch(epoch)
        seen.append(seen_by(loader))
    assert seen == [[], order(3), order(4)]
    loader.load_state_dict(end)
    assert seen_by(loader) == order(3), "without a named epoch, an iteration is never empty"


@pytest.mark.parametrize("steps", [None, 3])
def test_an_iterator_whose_last_batch_was_taken_ends_also_after_the_loader_moved(
    steps: int | None, dataset: Dataset
) -> None:
    """Ignite takes the number of batches that it wants, names the next epoch, and asks the old iterator again."""
    loader = make(dataset, steps_per_epoch=steps)
    iterator = iter(loader)
    for _ in range(len(loader)):
        next(iterator)
    loader.set_epoch(1)
    assert next(iterator, "ended") == "ended"
    assert seen_by(loader, steps=1) == (order(1)[:16] if steps is None else order(0)[48:])


@pytest.mark.parametrize("steps", [2, 3, 4, 5, 9])
def test_sub_epochs_continue_through_the_permutations(steps: int, dataset: Dataset) -> None:
    """An epoch of 60 samples has four steps of 16. Each sub-epoch is a function of its number alone."""
    stream = [order(epoch)[first : first + 16] for epoch in range(12) for first in range(0, 60, 16)]
    loader = make(dataset, steps_per_epoch=steps)
    assert len(loader) == steps
    for epoch in range(5):
        first, *rest = stream[epoch * steps : (epoch + 1) * steps]
        expected = [*first, *itertools.chain(*rest)]
        if epoch == 3:
            assert seen_by(loader, steps=1) == first
            assert seen_by(resume(loader)) == expected[len(first) :]
        else:
            assert seen_by(loader) == expected
        assert loader.epoch == epoch
    loader.set_epoch(1)
    assert seen_by(loader) == [*itertools.chain(*stream[steps : 2 * steps])]


def test_a_state_of_sub_epochs_needs_the_same_steps_and_batches(dataset: Dataset) -> None:
    loader = make(dataset, steps_per_epoch=5)
    state = {**loader.state_dict(), "position": 32}
    changes: dict[str, dict[str, Any]] = {
        "steps_per_epoch: 5, not 4": {"steps_per_epoch": 4},
        "steps_per_epoch: 5, not None": {},
        "batch_size: 16, not 8": {"steps_per_epoch": 5, "batch_size": 8},
    }
    for reason, settings in changes.items():
        with pytest.raises(FreelightError, match=f"another {reason}"):
            make(dataset, **settings).load_state_dict(state)
    with pytest.raises(FreelightError, match="no step of an epoch of 5 steps ends there"):
        loader.load_state_dict({**state, "position": 20})
    assert loader.position == 0


@pytest.mark.parametrize("world_size", [2, 3])
def test_sub_epochs_and_an_even_last_batch_on_several_ranks(world_size: int, dataset: Dataset) -> None:
    """60 samples in batches of 16 end with 12; of 11, with 5, cut to 4 or 3."""
    for batch_size in (16, 11):
        ranks = [
            make(dataset, batch_size=batch_size, rank=rank, world_size=world_size, last="even")
            for rank in range(world_size)
        ]
        kept = 60 - 60 % batch_size % world_size
        seen = Seen()
        for batches in zip(*ranks, strict=True):
            for batch in batches:
                seen.add(batch)
            sizes = {len(batch.samples) for batch in batches}
        assert len(sizes) == 1, "the last shares differ"
        assert list(map(sorted, (seen,))) == [sorted(order(0)[:kept])]


def test_the_size_of_the_global_batch_is_known_on_each_rank(dataset: Dataset) -> None:
    ranks = [make(dataset, batch_size=59, rank=rank, world_size=2) for rank in range(2)]
    sizes = [(len(a.labels), len(b.labels), *(rank.global_size for rank in ranks)) for a, b in zip(*ranks, strict=True)]
    assert sizes == [(30, 29, 59, 59), (1, 0, 1, 1)]
