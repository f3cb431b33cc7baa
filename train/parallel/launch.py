"""Start the processes of a run: one, or one a column of each replica; or join those that `torchrun` has started."""

import functools
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessContext, ProcessException, ProcessExitedException, spawn

from ...shards import FreelightError
from ...shards.base.atomic import atomic_write
from .mesh import Mesh
from .signals import StopRequest

Work = Callable[[Mesh, str, StopRequest], None]

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others at a collective."""

STOPPED = "stopped"
"""File in which processes that were asked to stop, and did, say by which signal."""


def launch(work: Work, *, columns: int, replicas: int | None, backend: str | None) -> None:
    """Call `work(mesh, device, stop)` in every process of a run, and return when all have ended.

    columns: processes that hold one network between them. replicas: of the network; by default one, or under
    `torchrun` as many as there are processes for. backend: `nccl` or `gloo`; by default NCCL with a GPU for each
    process, and gloo on the CPU. Under `torchrun`, this process is one of those that it started.

    SIGTERM and SIGINT set `stop.number` in every process; after `work` has returned, this one then exits with 128 +
    that number. Raises `FreelightError` with the reason, once, when a process that was started here ends before its
    time.
    """
    started = int(os.environ.get("WORLD_SIZE", "0"))  # by torchrun
    if replicas is None:
        replicas = max(1, started // columns)
    processes = columns * replicas
    if started not in (0, processes):
        raise FreelightError(
            f"--columns {columns} with {replicas} replicas are {processes} processes, but torchrun started {started}"
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))  # processes on this machine
    gpus = torch.cuda.device_count()
    if backend is None:
        backend = "nccl" if gpus else "gloo"
    if backend == "nccl" and processes > 1 and gpus < here:
        raise FreelightError(
            f"--columns {columns} with {replicas} replicas needs {here} GPUs here, found {gpus}; "
            "on fewer say --backend gloo, or --columns 1"
        )
    use_large_pages()
    torch.backends.cudnn.deterministic = True  # a run that is taken up must go on as it would have
    if started or processes == 1:
        with StopRequest() as stop:
            if processes == 1:
                work(Mesh(), "cuda:0" if gpus else "cpu", stop)
            else:
                _join_torchrun(work, processes, columns, backend, stop)
    else:
        stop = _spawn(work, processes, columns, backend)
    if stop.number:
        sys.exit(128 + stop.number)


def _join_torchrun(work: Work, processes: int, columns: int, backend: str, stop: StopRequest) -> None:
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise FreelightError(
            f"WORLD_SIZE is set but {missing[0]} is not: start the processes with torchrun, or unset WORLD_SIZE"
        )
    rank = int(os.environ["RANK"])
    try:
        _join(rank, processes, "env://", work, columns, backend, stop)
    except dist.DistNetworkError as error:
        raise FreelightError(
            f"rank {rank} cannot meet the others at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} ({error}); "
            "if the port is in use, give torchrun another --master-port"
        ) from None
    except RuntimeError as error:
        if not isinstance(error, dist.DistBackendError) and "gloo" not in str(error):
            raise
        raise FreelightError(
            f"rank {rank} lost another ({str(error).strip().splitlines()[0]}); torchrun says which one ended first; "
            "the same command goes on from the last checkpoint"
        ) from None


def use_large_pages() -> None:
    """Have torch ask for its large CPU tensors in large pages, here and in processes started from here.

    Memory is asked for anew each step, and in pages of 4 KiB that costs more than most sums over it: copying 148 MB
    takes 108 ms instead of 26. Call it before the first tensor is made; afterwards it changes nothing here.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def _spawn(work: Work, processes: int, columns: int, backend: str) -> StopRequest:
    with tempfile.TemporaryDirectory() as folder:
        arguments = (Path(folder), work, processes, columns, backend)
        context: ProcessContext | None = None

        def pass_on() -> None:
            for process in context.processes if context else ():
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)

        with StopRequest(told=pass_on) as stop:
            context = spawn(_spawned, arguments, nprocs=processes, join=False)  # type: ignore[no-untyped-call]
            assert context is not None
            if stop.number:
                pass_on()
            try:
                while not context.join():
                    pass
            except ProcessException as error:
                # One rank's failure ends the others, which may fail in turn: the reason is what a rank has written.
                reasons = sorted(Path(folder).glob("*.error"))
                if reasons:
                    raise FreelightError(os.fsdecode(reasons[0].read_bytes())) from None
                if not isinstance(error, ProcessExitedException):
                    raise
                # One that was told to stop before it could listen has done nothing yet.
                if not stop.number or error.exit_code not in (-signal.SIGTERM, -signal.SIGINT):
                    raise FreelightError(
                        f"rank {error.error_index} ended ({error.msg}); "
                        "the same command goes on from the last checkpoint"
                    ) from None
        if stop.number is None and (Path(folder) / STOPPED).exists():  # one rank alone was asked
            stop.number = int((Path(folder) / STOPPED).read_text())
        return stop


def _spawned(rank: int, folder: Path, work: Work, processes: int, columns: int, backend: str) -> None:
    _end_with(os.getppid())
    reporting = functools.partial(_reporting, work, folder / f"{rank}.error")
    with StopRequest() as stop:
        _join(rank, processes, f"file://{folder / 'rendezvous'}", reporting, columns, backend, stop)
    if stop.number:
        (folder / STOPPED).write_text(str(stop.number))


def _end_with(parent: int) -> None:
    """End this process once its parent is gone; torch only sends SIGINT then, which a job in the background ignores."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _reporting(work: Work, reason: Path, mesh: Mesh, device: str, stop: StopRequest) -> None:
    """Do `work`; write an error that a user is meant to read to `reason`, for the process that started this one."""
    try:
        work(mesh, device, stop)
    except (FreelightError, OSError) as error:
        with atomic_write(reason) as file:
            file.write(os.fsencode(str(error)))  # file names may be of any bytes
        sys.exit(2)


def _join(rank: int, processes: int, meeting: str, work: Work, columns: int, backend: str, stop: StopRequest) -> None:
    gpus = torch.cuda.device_count()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    device = f"cuda:{int(os.environ.get('LOCAL_RANK', rank)) % gpus}" if gpus else "cpu"
    if gpus:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // here))
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=processes, timeout=TIMEOUT)
    work(Mesh.join(columns=columns, device=device, timeout=TIMEOUT), device, stop)
    dist.destroy_process_group()  # after an error it could wait for others that wait for us
