"""The collectives by which the two columns of the network meet. Everything that crosses processes stands here.

The network has two columns (paper section 3.2), or one. One process holds all of them, or two processes hold one each;
then column `rank` of a tensor with C channels is its `rank`-th half along the channels, and of a parameter its
`rank`-th part along dimension 0.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from ...shards import FreelightError


@dataclass(frozen=True)
class Columns:
    """Which columns this process holds: all of them (`processes` = 1), or column `rank` of so many.

    group: the processes that hold one network between them.
    """

    processes: int = 1
    rank: int = 0
    group: dist.ProcessGroup | None = None

    def held_of(self, columns: int) -> int:
        """Return how many of a network's columns this process holds; `FreelightError` if they do not divide."""
        if columns % self.processes:
            raise FreelightError(f"the network has {columns} column, so it cannot be held in two: say --columns 1")
        return columns // self.processes

    def part(self, rows: int) -> slice:
        """Return this process's part of `rows` rows; the first column takes the odd one."""
        sizes = part_sizes(rows, self.processes)
        first = sum(sizes[: self.rank])
        return slice(first, first + sizes[self.rank])

    def join(self, x: torch.Tensor) -> torch.Tensor:
        """Give every column the activations of all: (N, C, ...) of each column to (N, 2C, ...).

        Backward sums over the columns, since each uses the whole: gradient i of the input is the sum over columns j
        of j's gradient for part i (a reduce-scatter).
        """
        return x if self.processes == 1 else _Join.apply(x, self)  # type: ignore[no-untyped-call]

    def join_logits(self, logits: torch.Tensor, classes: int) -> torch.Tensor:
        """Give every column all logits: (N, its part of `classes`) to (N, classes).

        Every column computes the same loss from them, so backward takes this column's slice of the gradient: to sum
        over columns would count the one loss twice.
        """
        if self.processes == 1:
            return logits
        return _JoinLogits.apply(logits, self, classes)  # type: ignore[no-any-return, no-untyped-call]

    def gather_rows(self, part: torch.Tensor, rows: int) -> torch.Tensor:
        """Return the whole of a tensor of `rows` rows of which each process has its part along dimension 0."""
        if self.processes == 1:
            return part
        sizes = part_sizes(rows, self.processes)
        padded = part.new_zeros((max(sizes), *part.shape[1:]))
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self.group)
        return torch.cat([whole[:size] for whole, size in zip(parts, sizes, strict=True)])


def part_sizes(rows: int, parts: int) -> list[int]:
    """Divide `rows` into `parts` to within one row; the first parts take the odd ones."""
    return [rows // parts + (index < rows % parts) for index in range(parts)]


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, columns: Columns) -> torch.Tensor:
        ctx.columns = columns
        parts = [torch.empty_like(x) for _ in range(columns.processes)]
        dist.all_gather(parts, x.contiguous(), group=columns.group)
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        columns: Columns = ctx.columns
        parts = [part.contiguous() for part in gradient.chunk(columns.processes, dim=1)]
        own = torch.empty_like(parts[0])
        dist.reduce_scatter(own, parts, group=columns.group)
        return own, None


class _JoinLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, columns: Columns, classes: int) -> torch.Tensor:
        ctx.part = columns.part(classes)
        return columns.gather_rows(logits.T.contiguous(), classes).T.contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient[:, ctx.part], None, None
