"""The loader as torch's frameworks take it: an iterable dataset, a thing to copy, to pickle and to close."""

import copy
import itertools
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from loading import SMALL, Seen, make, readers
from torch.utils.data import DataLoader, IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from freelight.pipeline import draw_epoch
from freelight.shards import Dataset, FreelightError


def test_a_torch_data_loader_hands_the_batches_on(dataset: Dataset, whole: Seen) -> None:
    loader = make(dataset)
    assert isinstance(loader, IterableDataset)
    outer = DataLoader(loader, batch_size=None)
    assert len(outer) == len(loader) == 4
    assert Seen(outer) == whole
    assert list(Seen(outer)) == draw_epoch(60, seed=0, epoch=1).order.tolist()


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata's own
@pytest.mark.parametrize("taken", [1, 3, 4])
def test_a_stateful_data_loader_resumes_with_the_samples_not_yet_seen(taken: int, dataset: Dataset) -> None:
    def outer() -> StatefulDataLoader[Any]:
        return StatefulDataLoader(make(dataset), batch_size=None)

    first = outer()
    seen = [batch.samples.tolist() for _, batch in zip(range(taken), first, strict=False)]
    second = outer()
    second.load_state_dict(first.state_dict())
    rest = [batch.samples.tolist() for batch in second]
    if taken < 4:
        assert [*itertools.chain(*seen, *rest)] == draw_epoch(60, seed=0, epoch=0).order.tolist()
    else:
        assert [*itertools.chain(*rest)] in ([], draw_epoch(60, seed=0, epoch=1).order.tolist())


def test_a_worker_process_is_refused_with_the_reason(dataset: Dataset) -> None:
    """Each worker would return every sample."""
    with pytest.raises(FreelightError, match="give the DataLoader num_workers=0"):
        next(iter(DataLoader(make(dataset), batch_size=None, num_workers=1)))


def test_what_frameworks_look_for_is_there(dataset: Dataset) -> None:
    loader = make(dataset)
    assert (loader.num_workers, loader.batch_sampler, len(loader.sampler)) == (0, None, 60)
    loader.sampler.set_epoch(3)
    assert list(Seen(loader)) == draw_epoch(60, seed=0, epoch=3).order.tolist()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))])
def test_a_copy_goes_on_as_the_loader_would(again: Any, dataset: Dataset, whole: Seen) -> None:
    loader = make(dataset, last="even", rank=1, world_size=2, batch_size=10, max_skipped=3, on_error="skip")
    next(iter(loader))
    fresh = again(loader)
    assert fresh.state_dict() == loader.state_dict()
    assert (fresh.last, fresh.rank, fresh.world_size, fresh.extras) == ("even", 1, 2, ("samples",))
    assert Seen(fresh) == Seen(loader)
    assert fresh.epoch == loader.epoch == 1
    loader.load_state_dict({**loader.state_dict(), "epoch": 0, "position": 20})
    assert Seen(again(loader)) == Seen(loader), "a state to be resumed is copied too"


def test_batches_can_be_pickled_and_copied(dataset: Dataset) -> None:
    for batch in (next(iter(make(dataset))), next(iter(make(dataset, extras=())))):
        for same in (pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch), type(batch)(*batch)):
            assert same._fields == batch._fields
            assert all(map(torch.equal, same, batch))


def test_a_spawned_process_gets_the_loader(dataset: Dataset) -> None:
    program = """
import sys
import torch.multiprocessing
from freelight.pipeline import Lighting, Loader, RandomCrop, Transform
def count(rank, loader):
    assert sum(len(labels) for _, labels in loader) == 60
if __name__ == "__main__":
    transform = Transform(crop=RandomCrop(size=32), mean="none", lighting=Lighting(mode="off"), dtype="uint8")
    loader = Loader(sys.argv[1], "train", batch_size=16, transform=transform)
    next(iter(loader))
    torch.multiprocessing.spawn(count, (loader,), nprocs=1)
"""
    script = dataset.folder.parent / "spawned.py"
    script.write_text(program)
    ended = subprocess.run(
        [sys.executable, str(script), str(dataset.folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_closed_loader_has_no_thread_and_says_so(dataset: Dataset) -> None:
    with make(dataset) as loader:
        iteration = iter(loader)
        next(iteration)
        assert len(readers()) == 1
    assert readers() == []
    with pytest.raises(FreelightError, match="the loader is closed"):
        next(iter(loader))
    with pytest.raises(FreelightError, match="this iteration is over"):
        next(iteration)
    loader.close()


def test_a_launched_process_without_a_group_is_refused(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would load the whole split on every rank. (The environment is read at the first iteration.)"""
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    loader = make(dataset)
    with pytest.raises(FreelightError, match=r"one of 2 processes \(WORLD_SIZE\).*init_process_group first"):
        next(iter(loader))
    assert len(Seen(make(dataset, rank=0, world_size=1, transform=SMALL))) == 60
