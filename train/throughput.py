"""Measure images/s, loss and error between two lines of metrics; sums stay on the device until a line is due."""

import math
import time
from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.distributed as dist

from .parallel.mesh import Mesh

NO_STEP = 2**62
"""Means "no step" in the minimum over all ranks."""


class Means(NamedTuple):
    """Means since the last line of metrics; the fields are those of `StepMetrics`."""

    loss: float
    train_top1: float
    images_per_second: float
    images_per_second_without_wait: float
    wait_share: float


class Meter:
    """Sum losses and errors since the last line of metrics, and keep the first step whose loss was not finite.

    The wait for data is the time that the host is blocked for a batch. On CUDA the host runs ahead, so there it is the
    device's idle time between two steps. Only `means` and `first_bad_step` wait for the device.
    """

    def __init__(self, mesh: Mesh, device: str) -> None:
        self.mesh = mesh
        self._on_cuda = torch.device(device).type == "cuda"
        self._sums = torch.zeros(2, dtype=torch.float64, device=device)  # loss, wrong
        self._first_bad = torch.full((), NO_STEP, dtype=torch.int64, device=device)
        self.begin(0.0)

    def begin(self, waited: float) -> None:
        """Reset all counts. waited: seconds that the host has waited for data so far."""
        self._sums.zero_()
        self._images = 0
        self._start, self._waited = time.perf_counter(), waited
        self._idle: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self.interrupt()

    def interrupt(self) -> None:
        """Note that other work follows (a save): idle time until the next step does not count as waiting for data."""
        self._ended: torch.cuda.Event | None = None

    def step_begins(self) -> None:
        """Note that a batch has arrived and its step begins."""
        if self._on_cuda and self._ended is not None:
            self._idle.append((self._ended, self._event()))

    def add(self, step: int, loss: torch.Tensor, wrong: torch.Tensor, images: int) -> None:
        """Count a step: this replica's sum of losses and number of wrong answers, and the images of all replicas."""
        self._sums += torch.stack([loss.double(), wrong.double()])
        bad = (self._first_bad == NO_STEP) & ~torch.isfinite(loss)
        self._first_bad.copy_(torch.where(bad, step, self._first_bad))
        self._images += images
        self._ended = self._event() if self._on_cuda else None

    def means(self, waited: float) -> Means:
        """Return the means since `begin`, the same on every rank. waited: as in `begin`."""
        loss, wrong = self.mesh.sum_over_replicas(self._sums.tolist())
        seconds = time.perf_counter() - self._start
        wait = min(self._idle_seconds() if self._on_cuda else waited - self._waited, seconds)
        return Means(
            loss=loss / self._images,
            train_top1=wrong / self._images,
            images_per_second=self._images / seconds,
            images_per_second_without_wait=self._images / max(seconds - wait, 1e-9),
            wait_share=wait / seconds,
        )

    def first_bad_step(self) -> int | None:
        """Return the first step whose loss was not finite, the same on every rank; None if all were finite."""
        first = self.mesh.min_over_ranks(int(self._first_bad))
        return None if first == NO_STEP else first

    def _idle_seconds(self) -> float:
        return float(sum(ended.elapsed_time(began) for ended, began in self._idle)) / 1000

    @staticmethod
    def _event() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


def norm(tensors: Iterable[torch.Tensor], mesh: Mesh) -> float:
    """Return the Euclidean norm of the whole network's tensors, from this rank's column of each."""
    norms = [torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64) for tensor in tensors]
    squares = torch.stack(norms).square().sum()
    if mesh.columns.group is not None:
        dist.all_reduce(squares, group=mesh.columns.group)
    return math.sqrt(float(squares))
