"""The processes of a run: replicas of the network that share a batch, each held in so many columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from .columns import Columns


@dataclass(frozen=True)
class Mesh:
    """This process's place: its columns of the network, and which replica of `replicas` they belong to.

    across: the processes that hold the same columns of the other replicas. swapping: those that hold this replica, once
    more: so that the next batch is swapped beside what the columns exchange, not in line with it. everyone: all of the
    run, by gloo: what is decided on the host never waits for a device.
    """

    columns: Columns = field(default_factory=Columns)
    replicas: int = 1
    replica: int = 0
    across: dist.ProcessGroup | None = None
    swapping: dist.ProcessGroup | None = None
    everyone: dist.ProcessGroup | None = None

    @classmethod
    def join(cls, *, columns: int, device: str, timeout: timedelta) -> "Mesh":
        """Return this process's place among those of the default group: ranks count columns first, then replicas."""
        replicas = dist.get_world_size() // columns
        mesh = init_device_mesh(torch.device(device).type, (replicas, columns), mesh_dim_names=("replica", "column"))
        swapping = dist.new_subgroups_by_enumeration(mesh.mesh.tolist(), timeout)  # type: ignore[no-untyped-call]
        return cls(
            columns=Columns(columns, mesh.get_local_rank("column"), mesh.get_group("column")),
            replicas=replicas,
            replica=mesh.get_local_rank("replica"),
            across=mesh.get_group("replica"),
            swapping=swapping[0],
            everyone=dist.new_group(backend="gloo", timeout=timeout),
        )

    @property
    def rank(self) -> int:
        """This process's number in the run."""
        return self.replica * self.columns.processes + self.columns.rank

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return self.replicas * self.columns.processes

    def agree(self, wish: int) -> int:
        """Return the greatest wish of any process, on all of them."""
        if self.everyone is None:
            return wish
        wishes = torch.tensor(wish)
        dist.all_reduce(wishes, dist.ReduceOp.MAX, group=self.everyone)
        return int(wishes)

    def sum_replicas(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums over the replicas, on all processes; the columns of a replica must hold the same numbers."""
        if self.everyone is None:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(total, group=self.everyone)
        return (total / self.columns.processes).tolist()

    def sum_gradients(self, network: nn.Module) -> Callable[[], None]:
        """Have every gradient summed over the replicas as soon as `backward` has it; call what this returns after it.

        Never over columns, whose parameters are others.
        """
        if self.replicas == 1:
            return lambda: None
        pending: list[dist.Work] = []

        def start(parameter: torch.Tensor) -> None:
            work = dist.all_reduce(parameter.grad, group=self.across, async_op=True)
            assert work is not None
            pending.append(work)

        for parameter in network.parameters():
            parameter.register_post_accumulate_grad_hook(start)  # type: ignore[no-untyped-call]

        def finish() -> None:
            for work in pending:
                work.wait()
            pending.clear()

        return finish
