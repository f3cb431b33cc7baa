"""Benchmarks on a device: laps timed by CUDA events, the device's idle time, and what a figure depends on."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from freelight.benchmarks.timing import Lap, timed
from freelight.shards.base import decoding_threads

CPU = torch.device("cpu")
CPU_ONLY = "compared on the CPU only"
"""Why a peer is absent on a GPU."""


def threads_for(device: torch.device) -> int:
    """Return the CPU threads of each contender: two, so that figures of CPUs compare; on a GPU its host's cores."""
    return 2 if device.type == "cpu" else decoding_threads("auto", 1)


def timed_on(
    device: torch.device, work: Callable[[], int], *, batch_size: int, waited: Callable[[], float] | None = None
) -> Lap:
    """Time `work()`, which returns its number of items, to the end of what it started on the device.

    waited: returns the seconds that the host has waited for data so far. Times of a GPU are given per batch: between
    two events in the current stream, and until the host had started everything.
    """
    if device.type == "cpu":
        return timed(work)
    with torch.cuda.device(device):
        began, ended = cuda_event(), cuda_event()
        torch.cuda.synchronize()
        waited_before = waited() if waited else 0.0
        start = time.perf_counter()
        began.record()
        items = work()
        ended.record()
        host_seconds = time.perf_counter() - start
        ended.synchronize()
        seconds = time.perf_counter() - start
        milliseconds = 1000 * batch_size / items if items else 0.0  # a second of the lap, as ms per batch
        return Lap(
            items,
            seconds,
            device_ms=began.elapsed_time(ended) / 1000 * milliseconds,
            host_ms=host_seconds * milliseconds,
            wait_ms=(waited() - waited_before) * milliseconds if waited else 0.0,
        )


def cuda_event() -> torch.cuda.Event:
    """Return an event that notes the time."""
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


class IdleTime:
    """The time that a device has no work between two steps, seconds. On the CPU it has none.

    While `seconds` is not read, nothing waits for the device.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._gaps: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._ended: torch.cuda.Event | None = None

    def interrupt(self) -> None:
        """Note that other work follows: the time until the next step does not count."""
        self._ended = None

    def step_begins(self) -> None:
        """Note that a batch is there."""
        if self._ended is not None:
            self._gaps.append((self._ended, self._event()))

    def step_ended(self) -> None:
        """Note that a step's work was given to the device."""
        self._ended = self._event() if self._on_cuda else None

    @property
    def seconds(self) -> float:
        """The idle time so far."""
        return float(sum(ended.elapsed_time(began) for ended, began in self._gaps)) / 1000

    @staticmethod
    def _event() -> torch.cuda.Event:
        event = cuda_event()
        event.record()
        return event


def device_facts(device: torch.device) -> dict[str, Any]:
    """Return what a measurement on a GPU depends on: its name, memory, multiprocessors, capability and driver."""
    if device.type == "cpu":
        return {}
    found = torch.cuda.get_device_properties(device)
    version = Path("/proc/driver/nvidia/version")
    driver = version.read_text(encoding="utf-8").splitlines()[0] if version.is_file() else "unknown"
    return {
        "gpu": found.name,
        "gpu_memory_gb": round(found.total_memory / 1e9, 1),
        "multiprocessors": found.multi_processor_count,
        "capability": f"{found.major}.{found.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "driver": driver,
    }
