"""The collectives that connect the network's columns. All communication inside the network is in this file.

A network has one or two columns (paper section 3.2). One process holds all of them, or two processes hold one each. In
the latter case column `rank` holds the `rank`-th half of an activation's channels, and the `rank`-th part of a
parameter along dimension 0.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from ...shards import FreelightError


@dataclass(frozen=True)
class Columns:
    """Which of the network's columns this process holds: all of them if `processes` is 1, else column `rank`.

    processes: that hold one network together. group: these processes; None if there is one.
    """

    processes: int = 1
    rank: int = 0
    group: dist.ProcessGroup | None = None

    def per_process(self, columns: int) -> int:
        """Return how many of the network's `columns` this process holds.

        Raises `FreelightError` if they cannot be divided evenly.
        """
        if columns % self.processes:
            raise FreelightError(
                f"`columns` (={self.processes}) must divide the network's number of columns ({columns}); set it to 1"
            )
        return columns // self.processes

    def part(self, rows: int) -> slice:
        """Return this process's part of `rows` rows. If `rows` is odd, the first column has one more."""
        sizes = part_sizes(rows, self.processes)
        first = sum(sizes[: self.rank])
        return slice(first, first + sizes[self.rank])

    def join(self, x: torch.Tensor) -> torch.Tensor:
        """Gather the activations of all columns on each: from (N, C, ...) per column to (N, 2C, ...).

        Backward sums over the columns, because every column uses all activations: the gradient of part i is the sum
        over columns j of j's gradient for part i (a reduce-scatter). Activations keep their memory order.
        """
        if self.processes == 1:
            return x
        if is_channels_last(x):  # collectives take contiguous memory
            joined: torch.Tensor = _Join.apply(x.permute(0, 2, 3, 1), self, 3)  # type: ignore[no-untyped-call]
            return joined.permute(0, 3, 1, 2)
        return _Join.apply(x, self, 1)  # type: ignore[no-any-return, no-untyped-call]

    def join_logits(self, logits: torch.Tensor, classes: int) -> torch.Tensor:
        """Gather all logits on each column: from (N, this column's part of `classes`) to (N, classes).

        Every column computes the same loss from them, so backward takes this column's slice of the gradient. A sum
        over columns would count that one loss twice.
        """
        if self.processes == 1:
            return logits
        return _JoinLogits.apply(logits, self, classes)  # type: ignore[no-any-return, no-untyped-call]

    def gather_rows(self, part: torch.Tensor, rows: int) -> torch.Tensor:
        """Return a whole tensor of `rows` rows from the parts that the processes hold along dimension 0."""
        if self.processes == 1:
            return part
        sizes = part_sizes(rows, self.processes)
        padded = part.new_zeros((max(sizes), *part.shape[1:]))
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self.group)
        return torch.cat([whole[:size] for whole, size in zip(parts, sizes, strict=True)])


def is_channels_last(x: torch.Tensor) -> bool:
    """Return whether activations (N, C, H, W) have their channels last in memory, and not in torch's usual order."""
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def part_sizes(rows: int, parts: int) -> list[int]:
    """Divide `rows` into `parts` that differ by at most one row; the first parts are the larger ones."""
    return [rows // parts + (index < rows % parts) for index in range(parts)]


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, columns: Columns, axis: int) -> torch.Tensor:
        ctx.columns, ctx.axis = columns, axis
        own = x.contiguous()
        parts = [torch.empty_like(own) for _ in range(columns.processes)]
        dist.all_gather(parts, own, group=columns.group)
        return torch.cat(parts, axis)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        columns: Columns = ctx.columns
        parts = [part.contiguous() for part in gradient.chunk(columns.processes, ctx.axis)]
        own = torch.empty_like(parts[0])
        dist.reduce_scatter(own, parts, group=columns.group)
        return own, None, None


class _JoinLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, columns: Columns, classes: int) -> torch.Tensor:
        ctx.part = columns.part(classes)
        return columns.gather_rows(logits.T.contiguous(), classes).T.contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient[:, ctx.part], None, None
