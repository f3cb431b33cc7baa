"""Start the processes of a run: one, or one a column; or join those that `torchrun` has started."""

import functools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException, spawn

from ..shards import FreelightError
from ..shards.atomic import atomic_write
from .columns import Columns


def launch(work: Callable[[Columns, str], None], *, columns: int, backend: str | None) -> None:
    """Call `work(columns, device)` in every process of a run, and return when all have ended.

    columns: how many processes, each holding so many columns that there are two in all. backend: `nccl` or `gloo`; by
    default NCCL with a GPU for each process, and gloo on the CPU. Under `torchrun`, this process is one of those.
    Raises `FreelightError` with the reason, once, when a process that was started here ends before its time.
    """
    if columns == 1:
        if int(os.environ.get("WORLD_SIZE", "1")) != 1:
            raise FreelightError(f"--columns 1 is one process, but torchrun started {os.environ['WORLD_SIZE']}")
        work(Columns(), "cuda:0" if torch.cuda.is_available() else "cpu")
        return
    gpus = torch.cuda.device_count()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", columns))  # processes on this machine
    if backend is None:
        backend = "nccl" if gpus else "gloo"
    if backend == "nccl" and gpus < here:
        raise FreelightError(
            f"--columns {columns} needs {here} GPUs here, found {gpus}; on fewer say --backend gloo, or --columns 1"
        )
    if "RANK" in os.environ:
        _join(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), "env://", work, columns, backend)
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            spawn(_spawned, (Path(folder), work, columns, backend), nprocs=columns)  # type: ignore[no-untyped-call]
        except ProcessException as error:
            # One rank's failure ends the others, which may fail in turn: the reason is what a rank has written down.
            reasons = sorted(Path(folder).glob("*.error"))
            if reasons:
                raise FreelightError(os.fsdecode(reasons[0].read_bytes())) from None
            if isinstance(error, ProcessExitedException):
                raise FreelightError(
                    f"rank {error.error_index} ended ({error.msg}); the same command goes on from the last checkpoint"
                ) from None
            raise


def _spawned(rank: int, folder: Path, work: Callable[[Columns, str], None], columns: int, backend: str) -> None:
    _end_with(os.getppid())
    reporting = functools.partial(_reporting, work, folder / f"{rank}.error")
    _join(rank, columns, f"file://{folder / 'rendezvous'}", reporting, columns, backend)


def _end_with(parent: int) -> None:
    """End this process once its parent is gone; torch only sends SIGINT then, which a job in the background ignores."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _reporting(work: Callable[[Columns, str], None], reason: Path, columns: Columns, device: str) -> None:
    """Do `work`; write an error that a user is meant to read to `reason`, for the process that started this one."""
    try:
        work(columns, device)
    except (FreelightError, OSError) as error:
        with atomic_write(reason) as file:
            file.write(os.fsencode(str(error)))  # file names may be of any bytes
        sys.exit(2)


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
