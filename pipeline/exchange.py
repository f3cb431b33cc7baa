"""Let ranks that train on the same batch decode each image once: each decodes its share, then they swap."""

from collections.abc import Sequence

import torch
import torch.distributed as dist


def swap_shares(own: torch.Tensor, sizes: Sequence[int], group: dist.ProcessGroup) -> torch.Tensor:
    """Return the whole batch (sum(sizes), ...), on every rank of `group`: their shares in the order of the ranks.

    own: this rank's share, `sizes[rank]` images. The collective wants equal sizes, so shorter shares travel padded.
    """
    padded = own
    if len(own) < max(sizes):
        padded = own.new_zeros((max(sizes), *own.shape[1:]))
        padded[: len(own)] = own
    shares = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(shares, padded.contiguous(), group=group)
    return torch.cat([share[:size] for share, size in zip(shares, sizes, strict=True)])
