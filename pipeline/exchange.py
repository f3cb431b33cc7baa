"""The exchange of model parallelism: ranks that train on the same batch decode a share each, then exchange shares."""

import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.distributed as dist

from ..shards import FreelightError
from .dealing import Dealing
from .decoder import Decoded


class Exchange:
    """Turn batches of shares into whole batches of a group of ranks.

    group: the processes that share every batch. dealing: what each of them decodes. may_skip: whether a rank may skip
    damaged samples, so that shares may be smaller than planned. check: compare checksums of every batch over the group.
    """

    def __init__(self, group: dist.ProcessGroup, *, dealing: Dealing, may_skip: bool, check: bool = False) -> None:
        self._group = group
        self._dealing = dealing
        self._may_skip = may_skip
        self._check = check

    def whole_batches(self, shares: Iterator[Decoded]) -> Iterator[Decoded]:
        """Yield the whole batch of each step. Each is exchanged while the previous one is in use.

        If samples may be skipped, exchanges do not overlap with use: a rank that finds a damaged sample starts its step
        again, and must not start the next exchange while other ranks wait for this one.
        """
        finish: Callable[[], Decoded] | None = None
        for share in shares:
            started = self._start(share)
            if self._may_skip:
                yield started()
                continue
            if finish is not None:
                yield finish()
            finish = started
        if finish is not None:
            yield finish()

    def _start(self, share: Decoded) -> Callable[[], Decoded]:
        """Start the exchange of one step; the returned function waits for it."""
        if self._may_skip:  # only the rank itself knows which samples it skipped
            device = share.images.device
            sizes = exchange_sizes(len(share.samples), self._group, device)
            parts = exchange_shares(torch.from_numpy(share.samples).to(device), sizes, self._group)
            samples = torch.cat(parts).cpu().numpy()
        else:
            dealt = [self._dealing.share(share.step, rank) for rank in self._dealing.held]
            sizes, samples = [len(part) for part in dealt], np.concatenate(dealt)
        wait = start_exchange(share.images, sizes, self._group)

        def finish() -> Decoded:
            images = wait()
            if self._check:
                check_shares(share.images, images, self._group)
            return Decoded(share.step, torch.cat(images), samples)

        return finish


def exchange_shares(own: torch.Tensor, sizes: Sequence[int], group: dist.ProcessGroup) -> list[torch.Tensor]:
    """Return every rank's share, on every rank of `group`, in the order of the ranks (a collective).

    own: this rank's share, `sizes[rank]` rows.
    """
    return start_exchange(own, sizes, group)()


def start_exchange(
    own: torch.Tensor, sizes: Sequence[int], group: dist.ProcessGroup
) -> Callable[[], list[torch.Tensor]]:
    """Start `exchange_shares`; the returned function waits for its end and returns the shares.

    The collective needs equal sizes, so shorter shares are padded.
    """
    padded = own
    if len(own) < max(sizes):
        padded = own.new_zeros((max(sizes), *own.shape[1:]))
        padded[: len(own)] = own
    shares = [torch.empty_like(padded) for _ in sizes]
    work = dist.all_gather(shares, padded.contiguous(), group=group, async_op=True)

    def finish() -> list[torch.Tensor]:
        assert work is not None
        work.wait()
        return [share[:size] for share, size in zip(shares, sizes, strict=True)]

    return finish


def exchange_sizes(own: int, group: dist.ProcessGroup, device: torch.device) -> list[int]:
    """Return how many samples each rank's share has (a collective)."""
    sizes = exchange_shares(torch.tensor([own], device=device), [1] * dist.get_world_size(group), group)
    return [int(size) for size in sizes]


def check_shares(own: torch.Tensor, shares: Sequence[torch.Tensor], group: dist.ProcessGroup) -> None:
    """Raise `FreelightError` on every rank, naming the ranks whose batch differs from what was sent (a collective).

    own: the share that this rank sent. shares: the batch that it holds.
    """
    hashes = torch.tensor([_hash(own), *map(_hash, shares)], device=own.device)
    table = torch.stack(exchange_shares(hashes[None], [1] * len(shares), group))[:, 0]
    wrong = (table[:, 1:] != table[:, 0]).any(dim=1).nonzero().flatten().tolist()
    if wrong:
        raise FreelightError(
            f"the ranks do not hold the same batch: rank {', '.join(map(str, wrong))} holds another; "
            "check its memory and connection"
        )


def _hash(tensor: torch.Tensor) -> int:
    return zlib.crc32(tensor.cpu().contiguous().numpy().data)
