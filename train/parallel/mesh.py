"""The processes of a run: replicas of the network share each batch; one or two processes hold a replica's columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from .columns import Columns


@dataclass(frozen=True)
class Mesh:
    """This process's place: which of the `replicas` it belongs to, and which columns of that network it holds.

    gradient_group: the ranks with the same column in every replica; gradients are summed over it. exchange_group: a
    second group over the ranks of this replica, so that batch all-gathers do not queue behind activations. host_group:
    all ranks, by gloo, so that votes and counts never wait for a device. A group is None in a run of one process.
    """

    columns: Columns = field(default_factory=Columns)
    replicas: int = 1
    replica: int = 0
    gradient_group: dist.ProcessGroup | None = None
    exchange_group: dist.ProcessGroup | None = None
    host_group: dist.ProcessGroup | None = None

    @classmethod
    def join(cls, *, columns: int, device: str, timeout: timedelta) -> "Mesh":
        """Return this process's place in the default group. Rank = replica * `columns` + column."""
        replicas = dist.get_world_size() // columns
        mesh = init_device_mesh(torch.device(device).type, (replicas, columns), mesh_dim_names=("replica", "column"))
        exchange = dist.new_subgroups_by_enumeration(mesh.mesh.tolist(), timeout)  # type: ignore[no-untyped-call]
        return cls(
            columns=Columns(columns, mesh.get_local_rank("column"), mesh.get_group("column")),
            replicas=replicas,
            replica=mesh.get_local_rank("replica"),
            gradient_group=mesh.get_group("replica"),
            exchange_group=exchange[0],
            host_group=dist.new_group(backend="gloo", timeout=timeout),
        )

    @property
    def rank(self) -> int:
        """This process's rank in the run."""
        return self.replica * self.columns.processes + self.columns.rank

    @property
    def world_size(self) -> int:
        """The number of processes in the run."""
        return self.replicas * self.columns.processes

    def max_over_ranks(self, number: int) -> int:
        """Return the largest `number` of any rank, on every rank (a collective)."""
        return self.start_max_over_ranks(number)()

    def start_max_over_ranks(self, number: int) -> Callable[[], int]:
        """Start `max_over_ranks`; return a function that waits for its result."""
        if self.host_group is None:
            return lambda: number
        numbers = torch.tensor(number)
        work = dist.all_reduce(numbers, dist.ReduceOp.MAX, group=self.host_group, async_op=True)
        assert work is not None

        def finish() -> int:
            work.wait()
            return int(numbers)

        return finish

    def min_over_ranks(self, number: int) -> int:
        """Return the smallest `number` of any rank, on every rank (a collective)."""
        return -self.max_over_ranks(-number)

    def is_same_on_all_ranks(self, number: int) -> bool:
        """Tell every rank whether all ranks hold the same `number` (a collective)."""
        return self.max_over_ranks(number) == self.min_over_ranks(number)

    def wait_for_all(self) -> None:
        """Return once every rank has called this (a collective)."""
        self.max_over_ranks(0)

    def from_rank_0(self, value: Any) -> Any:
        """Return rank 0's `value`, on every rank (a collective)."""
        values = [value]
        if self.host_group is not None:
            dist.broadcast_object_list(values, src=0, group=self.host_group)
        return values[0]

    def sum_over_replicas(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums over the replicas, on every rank (a collective).

        All columns of a replica must pass the same numbers.
        """
        if self.host_group is None:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(total, group=self.host_group)
        return (total / self.columns.processes).tolist()

    def sum_gradients(self, network: nn.Module) -> Callable[[], None]:
        """Sum each gradient over the replicas as soon as `backward` has computed it.

        Returns a function that waits for the sums; call it after `backward`. Gradients are never summed over columns,
        because these hold different parameters.
        """
        if self.replicas == 1:
            return lambda: None
        pending: list[dist.Work] = []

        def start(parameter: torch.Tensor) -> None:
            work = dist.all_reduce(parameter.grad, group=self.gradient_group, async_op=True)
            assert work is not None
            pending.append(work)

        for parameter in network.parameters():
            parameter.register_post_accumulate_grad_hook(start)  # type: ignore[no-untyped-call]

        def finish() -> None:
            for work in pending:
                work.wait()
            pending.clear()

        return finish
