"""Start the processes of a run (one, or one per column of each replica), or join those that `torchrun` started."""

import functools
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessContext, ProcessException, ProcessExitedException, spawn

from ...shards import FreelightError
from ...shards.base import atomic_write, describe_os_error, exit_with_parent, whole_number
from .arithmetic import arithmetic
from .mesh import Mesh
from .signals import StopRequest

Work = Callable[[Mesh, str, StopRequest], None]
"""What every process does: `work(mesh, device, stop)`. Processes that are started here get it by pickle."""

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others in a collective."""

STOPPED = "stopped"
"""Name of the file in which a process that a signal stopped notes the signal's number."""


def launch(
    work: Work, *, columns: int, replicas: int | None, backend: str | None, remedy: str
) -> signal.Signals | None:
    """Call `work(mesh, device, stop)` in every process of a run; return when all have ended.

    columns: processes that hold one network together. replicas: of the network; None means 1, or under `torchrun` as
    many as its processes allow. backend: `nccl` or `gloo`; None means NCCL if there is a GPU, else gloo. Under
    `torchrun` this process is one of those that it started, and starts none. remedy: what to do after the loss of a
    rank, for the error.

    SIGTERM and SIGINT set `stop.number` in every process, and `work` should then return. Returns the signal that
    stopped the run; None if there was none. Raises `FreelightError` once, with the first cause, when a process that was
    started here fails.
    """
    whole_number("columns", columns, least=1)
    started = int(os.environ.get("WORLD_SIZE", "0"))  # by torchrun
    if replicas is not None:
        whole_number("replicas", replicas, least=1)
    else:
        replicas = max(1, started // columns)
    processes = columns * replicas
    if started not in (0, processes):
        raise FreelightError(
            f"`columns` (={columns}) times `replicas` (={replicas}) must equal the number of processes that torchrun "
            f"started, {started}"
        )
    local = int(os.environ.get("LOCAL_WORLD_SIZE", processes))  # processes on this machine
    gpus = torch.cuda.device_count()
    if backend is None:
        backend = "nccl" if gpus else "gloo"
    if backend == "nccl" and processes > 1 and gpus < local:
        raise FreelightError(
            f"{local} processes on this machine (`columns` times `replicas`) need a GPU each, found {gpus}; "
            "start fewer, or set `backend` to gloo"
        )
    use_large_pages()
    work = functools.partial(_exactly, work)
    if started or processes == 1:
        with StopRequest() as stop:
            if processes == 1:
                work(Mesh(), "cuda:0" if gpus else "cpu", stop)
            else:
                _join_torchrun(work, processes, columns, backend, stop, remedy)
    else:
        stop = _spawn(work, processes, columns, backend, remedy)
    return signal.Signals(stop.number) if stop.number else None


def _exactly(work: Work, mesh: Mesh, device: str, stop: StopRequest) -> None:
    """Do `work` with the settings of torch that a process does not get from the one that starts it."""
    with arithmetic():
        work(mesh, device, stop)


def _join_torchrun(work: Work, processes: int, columns: int, backend: str, stop: StopRequest, remedy: str) -> None:
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise FreelightError(
            f"WORLD_SIZE is set but {missing[0]} is not; start the processes with torchrun, or unset WORLD_SIZE"
        )
    rank = int(os.environ["RANK"])
    try:
        _join(rank, processes, "env://", work, columns, backend, stop)
    except dist.DistNetworkError as error:
        raise FreelightError(
            f"rank {rank} cannot connect to the others at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} "
            f"({error}); if the port is in use, give torchrun another --master-port"
        ) from None
    except RuntimeError as error:
        if not isinstance(error, dist.DistBackendError) and "gloo" not in str(error):
            raise
        raise FreelightError(
            f"rank {rank} lost the connection to another rank ({str(error).strip().splitlines()[0]}); "
            f"torchrun's output names the rank that failed first; {remedy}"
        ) from None


def use_large_pages() -> None:
    """Make torch allocate large CPU tensors in huge pages, in this process and those that it starts.

    Each step allocates new memory, and page faults of 4 KiB cost more than most arithmetic on that memory: copying 148
    MB takes 108 ms instead of 26. Call this before the first tensor is allocated; later it has no effect here.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def _spawn(work: Work, processes: int, columns: int, backend: str, remedy: str) -> StopRequest:
    with tempfile.TemporaryDirectory() as folder:
        arguments = (Path(folder), work, processes, columns, backend)
        context: ProcessContext | None = None

        def forward() -> None:
            for process in context.processes if context else ():
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)

        with StopRequest(on_signal=forward) as stop:
            context = spawn(_spawned, arguments, nprocs=processes, join=False)  # type: ignore[no-untyped-call]
            assert context is not None
            if stop.number:  # it arrived before there was a process to forward it to
                forward()
            try:
                while not context.join():
                    pass
            except ProcessException as error:
                # When one rank fails, the others are ended and may fail too: the cause is what a rank has written.
                causes = sorted(Path(folder).glob("*.error"))
                if causes:
                    raise FreelightError(os.fsdecode(causes[0].read_bytes())) from None
                if not isinstance(error, ProcessExitedException):
                    raise
                # A rank that the forwarded signal ended before it had its handler has done nothing yet: no failure.
                if not stop.number or error.exit_code not in (-signal.SIGTERM, -signal.SIGINT):
                    raise FreelightError(f"rank {error.error_index} ended ({error.msg}); {remedy}") from None
            finally:
                for path in context.error_files:  # torch leaves the traceback of a failed rank in its folder
                    Path(path).unlink(missing_ok=True)
        if stop.number is None and (Path(folder) / STOPPED).exists():  # a signal reached the ranks but not this process
            stop.number = int((Path(folder) / STOPPED).read_text())
        return stop


def _spawned(rank: int, folder: Path, work: Work, processes: int, columns: int, backend: str) -> None:
    exit_with_parent(os.getppid())  # torch only sends SIGINT then, which background jobs ignore
    reporting = functools.partial(_reporting, work, folder / f"{rank}.error")
    with StopRequest() as stop:
        _join(rank, processes, f"file://{folder / 'rendezvous'}", reporting, columns, backend, stop)
    if stop.number:
        (folder / STOPPED).write_text(str(stop.number))


def _reporting(work: Work, cause: Path, mesh: Mesh, device: str, stop: StopRequest) -> None:
    """Do `work`; write an error that is meant for users to the file `cause`, which the parent process reads."""
    try:
        work(mesh, device, stop)
    except (FreelightError, OSError) as error:
        with atomic_write(cause) as file:
            text = describe_os_error(error) if isinstance(error, OSError) else str(error)
            file.write(os.fsencode(text))  # file names may hold any bytes
        sys.exit(2)


def _join(
    rank: int, processes: int, rendezvous: str, work: Work, columns: int, backend: str, stop: StopRequest
) -> None:
    gpus = torch.cuda.device_count()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    device = f"cuda:{int(os.environ.get('LOCAL_RANK', rank)) % gpus}" if gpus else "cpu"
    if gpus:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // local))
    dist.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=processes, timeout=TIMEOUT)
    work(Mesh.join(columns=columns, device=device, timeout=TIMEOUT), device, stop)
    dist.destroy_process_group()  # not after an error: it could wait for ranks that wait for this one
