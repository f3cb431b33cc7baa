"""Ranks that train on the same batch decode each image once between them, and each gets the whole batch."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from freelight.pipeline import Batch, Lighting, Loader, Transform
from freelight.pipeline.exchange import swap_shares
from freelight.shards import Dataset, Split, Statistics


def on_ranks(world_size: int, function: Callable[[int, dist.ProcessGroup], Any]) -> list[Any]:
    """Run `function(rank, group)` in a thread a rank, over gloo; return what each gave."""
    store = dist.HashStore()

    def on_rank(rank: int) -> Any:
        return function(rank, dist.ProcessGroupGloo(store, rank, world_size, timedelta(seconds=30)))

    with ThreadPoolExecutor(world_size) as threads:
        return list(threads.map(on_rank, range(world_size)))


@pytest.mark.parametrize("sizes", [[2, 2], [3, 2], [1, 0], [1, 1, 0]])
def test_every_rank_gets_the_shares_in_order(sizes: list[int]) -> None:
    whole = torch.arange(sum(sizes) * 6, dtype=torch.uint8).reshape(-1, 2, 3)
    own = whole.split(sizes)
    for swapped in on_ranks(len(sizes), lambda rank, group: swap_shares(own[rank], sizes, group)):
        assert torch.equal(swapped, whole)


@pytest.mark.parametrize("world_size", [2, 3])
def test_a_group_sees_the_batches_of_a_single_rank_and_reads_each_sample_once(
    world_size: int, dataset: Dataset, statistics: Statistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 19 leave a last one of 3, dealt 2 + 1 or one each, and their labels and samples are whole too."""
    transform = Transform(crop=64, mean="channel", lighting=Lighting(mode="std"))

    def batches(rank: int, group: dist.ProcessGroup | None, ranks: int = world_size) -> list[Batch]:
        return list(
            Loader(
                dataset,
                "train",
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
