"""This process's rank among those that share an epoch: as given, or that of torch's process group."""

import os
import warnings
from collections.abc import Iterable
from typing import NamedTuple

import torch.distributed as dist

from ..shards import FreelightError
from ..shards.base import whole_number


class Ranks(NamedTuple):
    """The process `rank` of `world_size`."""

    rank: int
    world_size: int


def known_ranks(rank: int | None, world_size: int | None) -> Ranks:
    """Return the given ranks; without them, those of torch's default process group; without a group, 0 of 1.

    Raises `FreelightError` unless both are given and fit, or neither is given.
    """
    if rank is not None and world_size is not None:
        rank, world_size = whole_number("rank", rank), whole_number("world_size", world_size)
        if not 0 <= rank < world_size:
            raise FreelightError(f"`rank` (={rank}) must lie in 0..world_size-1 (`world_size`={world_size})")
        return Ranks(rank, world_size)
    if rank is not None or world_size is not None:
        raise FreelightError(f"give both `rank` (={rank}) and `world_size` (={world_size}), or neither")
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks(0, 1)


def local_processes(ranks: Ranks) -> int:
    """Return how many processes share this machine: as torchrun says, otherwise all of `ranks`."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or ranks.world_size)


def check_group(group: dist.ProcessGroup | None) -> dist.ProcessGroup | None:
    """Return `group`. Raises `FreelightError` unless it is None or a process group."""
    if group is not None and not hasattr(group, "rank"):
        raise FreelightError(f"`group` (={group!r}) must be a process group")
    return group


def check_launched(rank: int | None, world_size: int | None) -> None:
    """Raise `FreelightError` if this is one of several processes whose ranks are neither given nor in a process group.

    Each of them would load the whole split.
    """
    launched = os.environ.get("WORLD_SIZE") or "1"
    if (rank, world_size) == (None, None) and not dist.is_initialized() and launched != "1":
        raise FreelightError(
            f"this is one of {launched} processes (WORLD_SIZE), but torch has no process group yet: call "
            "torch.distributed.init_process_group first, or give `rank` and `world_size`"
        )


def warn_of_shares(sizes: Iterable[int], ranks: Ranks) -> None:
    """Warn on rank 0 if the ranks' shares of global batches of these sizes differ: a mean over ranks is then wrong."""
    if ranks.rank == 0 and any(size % ranks.world_size for size in sizes):
        warnings.warn(
            f"{ranks.world_size} ranks share batches of {' and '.join(map(str, sorted(sizes)))} samples, so shares "
            "differ by one sample, and may be empty: choose `last`: 'short' (as now; divide sums by "
            "Loader.global_size), 'even' or 'drop'",
            stacklevel=4,
        )
