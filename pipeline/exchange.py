"""Let ranks that train on the same batch decode each image once: each decodes its share, then they swap."""

import zlib
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist

from ..shards import FreelightError


def swap_shares(own: torch.Tensor, sizes: Sequence[int], group: dist.ProcessGroup) -> list[torch.Tensor]:
    """Return every rank's share, on every rank of `group`; they are the batch in the order of the ranks.

    own: this rank's share, `sizes[rank]` rows.
    """
    return begin_swap(own, sizes, group)()


def begin_swap(own: torch.Tensor, sizes: Sequence[int], group: dist.ProcessGroup) -> Callable[[], list[torch.Tensor]]:
    """Begin to swap as `swap_shares` does; what this returns waits for the end of it, and gives the shares.

    The collective wants equal sizes, so shorter shares travel padded.
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


def swap_sizes(own: int, group: dist.ProcessGroup, device: torch.device) -> list[int]:
    """Return how many samples each rank's share has, where damaged ones were skipped."""
    sizes = swap_shares(torch.tensor([own], device=device), [1] * dist.get_world_size(group), group)
    return [int(size) for size in sizes]


def check_shares(own: torch.Tensor, shares: Sequence[torch.Tensor], group: dist.ProcessGroup) -> None:
    """Raise `FreelightError` on every rank, naming those that hold another batch than was sent (a collective).

    own: the share that this rank sent. shares: the batch that it holds.
    """
    hashes = torch.tensor([_hash(own), *map(_hash, shares)], device=own.device)
    table = torch.stack(swap_shares(hashes[None], [1] * len(shares), group))[:, 0]
    wrong = (table[:, 1:] != table[:, 0]).any(dim=1).nonzero().flatten().tolist()
    if wrong:
        raise FreelightError(
            f"the ranks do not hold the same batch: rank {', '.join(map(str, wrong))} holds another than was sent; "
            "suspect its memory or network"
        )


def _hash(tensor: torch.Tensor) -> int:
    return zlib.crc32(tensor.cpu().contiguous().numpy().data)
