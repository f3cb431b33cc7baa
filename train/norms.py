"""Euclidean norms over the whole network, of which a process may hold one column."""

import torch
import torch.distributed as dist

from .parallel.mesh import Mesh


@torch.no_grad()
def squared_norm(tensors: list[torch.Tensor], mesh: Mesh) -> torch.Tensor:
    """Return the squared norm of the whole network's tensors, from this rank's column of each (a collective).

    The result is a float64 scalar on the tensors' device; nothing waits for it.
    """
    squares = torch.stack(torch._foreach_norm(tensors, 2, torch.float64)).square().sum()
    if mesh.columns.group is not None:
        dist.all_reduce(squares, group=mesh.columns.group)
    return squares
