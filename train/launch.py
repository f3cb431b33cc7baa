"""Start the processes of a run: one, or one a column; or join those that `torchrun` has started."""

import os
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessExitedException, spawn

from ..shards import FreelightError
from ..shards.console import reports_errors
from .columns import Columns


def launch(work: Callable[[Columns, str], None], *, columns: int, backend: str | None) -> None:
    """Call `work(columns, device)` in every process of a run, and return when all have ended.

    columns: how many processes, each holding so many columns that there are two in all. backend: `nccl` or `gloo`; by
    default NCCL with a GPU for each process, and gloo on the CPU. Under `torchrun`, this process is one of those.
    """
    if columns == 1:
        if int(os.environ.get("WORLD_SIZE", "1")) != 1:
            raise FreelightError(f"--columns 1 is one process, but torchrun started {os.environ['WORLD_SIZE']}")
        work(Columns(), "cuda:0" if torch.cuda.is_available() else "cpu")
        return
    gpus = torch.cuda.device_count()
    if backend is None:
        if 0 < gpus < columns:
            raise FreelightError(
                f"--columns {columns} needs {columns} GPUs, found {gpus}; on one GPU say --backend gloo, or --columns 1"
            )
        backend = "nccl" if gpus else "gloo"
    if "RANK" in os.environ:
        _join(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), "env://", work, columns, backend)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'rendezvous'}"
        try:
            spawn(_spawned, (columns, meeting, work, columns, backend), nprocs=columns)  # type: ignore[no-untyped-call]
        except ProcessExitedException as error:
            # The rank has already said why; the others were stopped.
            sys.exit(error.exit_code if error.exit_code > 0 else 1)


@reports_errors
def _spawned(
    rank: int, world_size: int, meeting: str, work: Callable[[Columns, str], None], columns: int, backend: str
) -> None:
    _join(rank, world_size, meeting, work, columns, backend)


def _join(
    rank: int, world_size: int, meeting: str, work: Callable[[Columns, str], None], columns: int, backend: str
) -> None:
    if world_size != columns:
        raise FreelightError(f"--columns {columns} is {columns} processes, but torchrun started {world_size}")
    gpus = torch.cuda.device_count()
    device = f"cuda:{rank % gpus}" if gpus else "cpu"
    if gpus:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // world_size))
    dist.init_process_group(
        backend, init_method=meeting, rank=rank, world_size=world_size, timeout=timedelta(minutes=10)
    )
    try:
        work(Columns(processes=columns, rank=rank, group=dist.group.WORLD), device)
    finally:
        dist.destroy_process_group()
