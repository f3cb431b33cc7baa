"""Of the ranks that train on the same batch, only one decodes each image, and each gets the whole batch."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from freelight.pipeline import Batch, Lighting, Loader, Mix, OnError, RandomCrop, Transform, draw_epoch, exchange
from freelight.pipeline.exchange import exchange_shares
from freelight.shards import Dataset, FreelightError, Split, Statistics

# CPython 3.11 may fail with "AST constructor recursion depth mismatch" when two threads parse Python at once, as
# `np.load` does with the header of the samples' table.
PARSING = threading.Lock()


def loader_of(dataset: Dataset, **settings: Any) -> Loader:
    """Make a loader of train; one thread at a time."""
    with PARSING:
        return Loader(dataset, "train", extras=("samples",), **settings)


def on_ranks(world_size: int, function: Callable[[int, dist.ProcessGroup], Any]) -> list[Any]:
    """Run `function(rank, group)` in a thread for each rank, over gloo; return the results.

    All errors are shown, because a rank that waits for a failed rank does not know the cause.
    """
    store = dist.HashStore()

    def on_rank(rank: int) -> Any:
        return function(rank, dist.ProcessGroupGloo(store, rank, world_size, timedelta(seconds=30)))

    with ThreadPoolExecutor(world_size) as threads:
        runs = [threads.submit(on_rank, rank) for rank in range(world_size)]
    errors = [error for run in runs if isinstance(error := run.exception(), Exception)]
    if errors:
        raise ExceptionGroup("the ranks failed", errors)
    return [run.result() for run in runs]


@pytest.mark.parametrize("sizes", [[2, 2], [3, 2], [1, 0], [1, 1, 0]])
def test_every_rank_gets_the_shares_in_order(sizes: list[int]) -> None:
    whole = torch.arange(sum(sizes) * 6, dtype=torch.uint8).reshape(-1, 2, 3)
    own = whole.split(sizes)
    for shares in on_ranks(len(sizes), lambda rank, group: exchange_shares(own[rank], sizes, group)):
        assert [len(share) for share in shares] == sizes
        assert torch.equal(torch.cat(shares), whole)


@pytest.mark.usefixtures("read_singly")
@pytest.mark.parametrize("world_size", [2, 3])
def test_a_group_sees_the_batches_of_a_single_rank_and_reads_each_sample_once(
    world_size: int, dataset: Dataset, statistics: Statistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 19 leave a last one of 3, split as 2 + 1 or 1 + 1 + 1; labels and samples are complete too."""
    transform = Transform(crop=RandomCrop(size=64), mean="channel", lighting=Lighting(mode="std"))

    def batches(rank: int, group: dist.ProcessGroup | None, ranks: int = world_size) -> list[Batch]:
        return list(
            loader_of(
                dataset,
                batch_size=19,
                transform=transform,
                statistics=statistics,
                rank=rank,
                world_size=ranks,
                group=group,
            )
        )

    alone = batches(0, None, ranks=1)
    reads = []
    read = Split.read
    monkeypatch.setattr(Split, "read", lambda self, index: (reads.append(index), read(self, index))[1])
    for together in on_ranks(world_size, batches):
        for ours, theirs in zip(together, alone, strict=True):
            assert torch.equal(ours.images, theirs.images)
            assert torch.equal(ours.labels, theirs.labels)
            assert np.array_equal(ours.samples, theirs.samples)
    assert sorted(reads) == list(range(60))


@pytest.mark.parametrize("sampling", [{"repeats": 3}, {"balanced": True, "num_samples": 70}], ids=["repeats", "plan"])
def test_a_group_sees_the_occurrences_of_a_single_rank(sampling: dict[str, Any], dataset: Dataset) -> None:
    def batches(rank: int, group: dist.ProcessGroup | None, ranks: int = 2) -> list[Batch]:
        settings: dict[str, Any] = {"rank": rank, "world_size": ranks, "group": group, **sampling}
        return list(loader_of(dataset, batch_size=57, transform=PLAIN, **settings))

    alone = batches(0, None, ranks=1)
    for together in on_ranks(2, batches):
        for ours, theirs in zip(together, alone, strict=True):
            assert torch.equal(ours.images, theirs.images)
            assert torch.equal(ours.labels, theirs.labels)
            assert torch.equal(ours.samples, theirs.samples)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_groups_mix_as_a_single_rank_does(on_error: OnError, dataset: Dataset) -> None:
    """Two groups of two ranks: the first rank of each decodes one sample of the other group."""
    transform = Transform(crop=RandomCrop(size=33), mean=(120.0, 110.0, 100.0), lighting=Lighting(mode="off"))
    settings: dict[str, Any] = {"batch_size": 19, "transform": transform, "mix": Mix(mixup_alpha=0.8, cutmix_alpha=1.0)}
    store = dist.HashStore()

    def batches(rank: int, _: dist.ProcessGroup) -> list[Batch]:
        own = dist.PrefixStore(str(rank // 2), store)
        group = dist.ProcessGroupGloo(own, rank % 2, 2, timedelta(seconds=30))
        ranks: dict[str, Any] = {"rank": rank, "world_size": 4, "group": group, "on_error": on_error}
        return list(loader_of(dataset, check_exchange=True, **ranks, **settings))

    ranks = on_ranks(4, batches)
    for whole, *of_ranks in zip(loader_of(dataset, **settings), *ranks, strict=True):
        for place in range(3):
            values = [batch[place] for batch in of_ranks]
            assert torch.equal(torch.cat((values[0], values[2])), whole[place])
            assert torch.equal(values[0], values[1])
            assert torch.equal(values[2], values[3])


PLAIN = Transform(crop=RandomCrop(size=64), mean="none", lighting=Lighting(mode="off"), dtype="uint8")


@pytest.mark.parametrize("share", [0, 1, 2])
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_the_check_names_the_rank_whose_batch_has_a_flipped_bit(
    bad: int, share: int, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own share or in a received one; every rank raises the error, and none waits for another."""
    start = exchange.start_exchange

    def flips(own: torch.Tensor, sizes: Sequence[int], group: dist.ProcessGroup) -> Callable[[], list[torch.Tensor]]:
        shares = start(own, sizes, group)()
        if own.ndim == 4 and group.rank() == bad and len(shares[share]):  # images, not the check's checksums
            shares[share][0, 1, 2, 3] ^= 16
        return lambda: shares

    def message(rank: int, group: dist.ProcessGroup) -> str:
        loader = loader_of(
            dataset,
            batch_size=7,
            transform=PLAIN,
            rank=rank,
            world_size=3,
            group=group,
            check_exchange=True,
        )
        assert len(list(loader)) == 9, "nothing is wrong yet"
        barrier.wait()
        with pytest.raises(FreelightError) as caught:
            next(iter(loader))
        return str(caught.value)

    barrier = threading.Barrier(3, lambda: monkeypatch.setattr(exchange, "start_exchange", flips))
    for said in on_ranks(3, message):
        assert f"the ranks do not hold the same batch: rank {bad} holds another;" in said


@pytest.mark.usefixtures("read_singly")
def test_a_group_skips_what_any_of_its_ranks_finds_damaged(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch then has the same undamaged samples on every rank; without any, it is empty."""
    order = draw_epoch(60, seed=0, epoch=0).order.tolist()
    bad = {order[0], order[2], *order[6:12], order[-1]}
    read = Split.read

    def damaged(self: Split, index: int) -> bytes:
        if index in bad:
            raise FreelightError(f"sample {index} is damaged")
        return read(self, index)

    monkeypatch.setattr(Split, "read", damaged)

    def batches(rank: int, group: dist.ProcessGroup) -> tuple[list[Batch], dict[int, str]]:
        settings: dict[str, Any] = {"on_error": "skip", "max_skipped": 6, "check_exchange": True}
        loader = loader_of(dataset, batch_size=6, transform=PLAIN, rank=rank, world_size=2, group=group, **settings)
        return list(loader), loader.skipped

    alone = list(loader_of(dataset, batch_size=6, transform=PLAIN, on_error="skip", max_skipped=9))
    (ours, skipped), (theirs, others) = on_ranks(2, batches)
    assert skipped.keys() | others.keys() == bad
    assert not skipped.keys() & others.keys()
    assert [len(batch.samples) for batch in ours] == [4, 0, *[6] * 7, 5]
    for batch, other, expected in zip(ours, theirs, alone, strict=True):
        for its in (other, expected):
            assert torch.equal(batch.images, its.images)
            assert torch.equal(batch.labels, its.labels)
            assert np.array_equal(batch.samples, its.samples)
