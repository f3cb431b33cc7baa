"""Whole batches of a split, dealt to the replicas of a network: the same batches on any number of processes.

What a network computes of a sample depends, in the last bits, on the size of the batch around it. So batches are never
divided: batch k holds the same samples on one replica and on ten. Each replica gets consecutive batches.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy.typing as npt
import torch
import torch.distributed as dist

from ...pipeline import Loader
from ..parallel.columns import part_sizes
from ..parallel.mesh import Mesh
from ..parallel.signals import StopRequest
from ..parallel.votes import Ballot

Rows = TypeVar("Rows")
Runs = Sequence[range]
"""Runs of consecutive samples."""
Watch = Callable[[Iterable[int], int], Iterator[int]]
"""Wraps an iterable of sample counts, given their total, to show progress."""


def no_watch(counts: Iterable[int], total: int) -> Iterator[int]:
    """Show no progress."""
    yield from counts


def deal_batches(missing: Runs, batch_size: int, replicas: int) -> list[list[range]]:
    """Deal the batches of `missing` samples to the replicas; return the runs of each, whose batches differ by one.

    The first replicas have one batch more. A run's batches are counted from its first sample.
    """
    batches = [run[first : first + batch_size] for run in missing for first in range(0, len(run), batch_size)]
    dealt, first = [], 0
    for count in part_sizes(len(batches), replicas):
        dealt.append(join_runs(batches[first : first + count]))
        first += count
    return dealt


def join_runs(runs: Runs) -> list[range]:
    """Return the same samples in as few runs as possible, in order."""
    joined: list[range] = []
    for run in sorted(filter(None, runs), key=lambda run: run.start):
        if joined and run.start <= joined[-1].stop:
            run = range(joined[-1].start, max(joined.pop().stop, run.stop))
        joined.append(run)
    return joined


def gaps(done: Runs, samples: int) -> list[range]:
    """Return the runs of `samples` samples that are not done."""
    joined = join_runs(done)
    starts = [0, *(run.stop for run in joined)]
    stops = [*(run.start for run in joined), samples]
    return [range(start, stop) for start, stop in zip(starts, stops, strict=True) if start < stop]


def in_rounds(
    loader: Loader,
    compute: Callable[[range, torch.Tensor], Callable[[], Rows]],
    missing: Runs,
    mesh: Mesh,
    stop: StopRequest | None = None,
) -> Iterator[list[tuple[range, Rows]]]:
    """Yield what `compute` returns of the batches, on rank 0; on other ranks nothing but the rounds (a collective).

    A round is a batch on each replica; a list holds the samples and the rows of each. loader: of this process's place
    among its replica's columns, in sequential order. compute: starts the computation of samples and their images; the
    function that it returns waits for its end, and is called one batch later, so that a device is never idle. missing:
    the samples to compute.

    Raises `StoppedError` on every rank if `stop` holds a signal on any.
    """
    ballot = Ballot(mesh, stop or StopRequest())
    dealt = deal_batches(missing, loader.batch_size, mesh.replicas)
    rounds = max(sum(-(-len(run) // loader.batch_size) for run in runs) for runs in dealt)
    batches = _batches(loader, dealt[mesh.replica])
    previous: Callable[[], list[tuple[range, Rows]]] | None = None
    for _ in range(rounds):
        ballot.cast()
        started = [(samples, compute(samples, images)) for samples, images in itertools.islice(batches, 1)]
        if previous is not None:
            yield previous()
        previous = functools.partial(_gather, started, mesh)
        ballot.count()
    if previous is not None:
        yield previous()


def _batches(loader: Loader, runs: Runs) -> Iterator[tuple[range, torch.Tensor]]:
    """Yield the samples and images of the batches of these runs."""
    for run in runs:
        loader.load_state_dict({**loader.state_dict(), "position": run.start})
        for first, batch in zip(range(run.start, run.stop, loader.batch_size), loader, strict=False):
            yield range(first, first + len(batch.labels)), batch.images


def _gather(started: list[tuple[range, Callable[[], Rows]]], mesh: Mesh) -> list[tuple[range, Rows]]:
    """Return the rows of all replicas on rank 0, and none elsewhere. All columns of a replica hold the same rows."""
    own = [(samples, finish()) for samples, finish in started if mesh.columns.rank == 0]
    if mesh.replicas == 1:
        return own
    gathered: list[list[tuple[range, Rows]]] | None = [[]] * mesh.world_size if mesh.rank == 0 else None
    dist.gather_object(own, gathered, group=mesh.host_group)
    return [rows for part in gathered or [] for rows in part]


def start_copy(tensor: torch.Tensor) -> Callable[[], npt.NDArray[Any]]:
    """Start to copy a tensor to the host; the returned function waits for it."""
    if tensor.device.type == "cpu":
        return tensor.numpy
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()

    def finish() -> npt.NDArray[Any]:
        copied.synchronize()
        array: npt.NDArray[Any] = host.numpy()
        return array

    return finish
