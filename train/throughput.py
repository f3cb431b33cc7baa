"""Measure images/s, loss, error and norms between two lines of metrics; values stay on the device until one is due."""

import math
import time
from typing import NamedTuple

import torch

from .parallel.mesh import Mesh
from .step import StepResult

NO_STEP = 2**62
"""Means "no step" in the minimum over all ranks."""


class Means(NamedTuple):
    """Means since the last line of metrics, and the last norms; the fields are those of `StepMetrics`."""

    loss: float
    train_top1: float
    images_per_second: float
    images_per_second_without_wait: float
    wait_share: float
    gradient_norm: float
    weight_norm: float


class Meter:
    """Sum losses and errors since the last line of metrics, and keep the first step whose loss was not finite.

    The wait for data is the time that the host is blocked for a batch. On CUDA the host runs ahead, so there it is the
    device's idle time between two steps. Only `means` and `first_bad_step` wait for the device: each reads all steps
    since the reading before in one transfer.
    """

    def __init__(self, mesh: Mesh, device: str) -> None:
        self.mesh = mesh
        self._on_cuda = torch.device(device).type == "cuda"
        self._unread: list[tuple[int, StepResult]] = []
        self._first_bad = NO_STEP
        self.begin(0.0)

    def begin(self, waited: float) -> None:
        """Reset all counts. waited: seconds that the host has waited for data so far."""
        self._read()
        self._loss = self._wrong = 0.0
        self._norms = (math.nan, math.nan)
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

    def add(self, step: int, result: StepResult, images: int) -> None:
        """Count a step: what it computed on this replica's share, and the images of all replicas."""
        self._unread.append((step, result))
        self._images += images
        self._ended = self._event() if self._on_cuda else None

    def means(self, waited: float) -> Means:
        """Return the means since `begin`, the same on every rank. waited: as in `begin`."""
        self._read()
        loss, wrong = self.mesh.sum_over_replicas([self._loss, self._wrong])
        seconds = time.perf_counter() - self._start
        wait = min(self._idle_seconds() if self._on_cuda else waited - self._waited, seconds)
        gradient_norm, weight_norm = self._norms
        return Means(
            loss=loss / self._images,
            train_top1=wrong / self._images,
            images_per_second=self._images / seconds,
            images_per_second_without_wait=self._images / max(seconds - wait, 1e-9),
            wait_share=wait / seconds,
            gradient_norm=gradient_norm,
            weight_norm=weight_norm,
        )

    def first_bad_step(self) -> int | None:
        """Return the first step whose loss was not finite, the same on every rank; None if all were finite."""
        self._read()
        first = self.mesh.min_over_ranks(self._first_bad)
        return None if first == NO_STEP else first

    def _read(self) -> None:
        """Copy from the device what the steps since the last reading computed, and count it."""
        if not self._unread:
            return
        results = [result for _, result in self._unread]
        norms = [result.squared_norms for result in results if result.squared_norms is not None][-1:]
        values = [torch.stack([number for result in results for number in (result.loss, result.wrong)]), *norms]
        numbers = torch.cat(values).tolist()
        for (step, _), loss, wrong in zip(self._unread, numbers[::2], numbers[1::2], strict=False):
            self._loss += loss
            self._wrong += wrong
            if self._first_bad == NO_STEP and not math.isfinite(loss):
                self._first_bad = step
        if norms:
            self._norms = (math.sqrt(numbers[-2]), math.sqrt(numbers[-1]))
        self._unread.clear()

    def _idle_seconds(self) -> float:
        return float(sum(ended.elapsed_time(began) for ended, began in self._idle)) / 1000

    @staticmethod
    def _event() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event
