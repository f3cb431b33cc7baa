"""Contenders that load a dataset: a loader or graph of ours, and peers in their own environments."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from freelight.benchmarks.device import CPU, CPU_ONLY, timed_on
from freelight.benchmarks.peers import find_peer
from freelight.benchmarks.process import process_contender
from freelight.benchmarks.report import Figure, Floor
from freelight.benchmarks.timing import Contender, Timings
from freelight.pipeline import Loader

MODULES = {
    "ffcv": "freelight.benchmarks.ffcv_loader",
    "torchvision": "freelight.benchmarks.webdataset_loader",
    "timm": "freelight.benchmarks.timm_loader",
}
"""The module that runs a peer's loader. timm is in torchvision's environment."""
ENVIRONMENTS = {"timm": "torchvision"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the loader's report. tables: text to print as it is."""

    timings: Timings
    floors: tuple[Floor, ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


def epochs_contender(
    name: str,
    epoch: Callable[[], Iterable[Any]],
    epochs: int,
    *,
    batch_size: int,
    device: torch.device,
    waited: Callable[[], float] | None = None,
) -> Contender:
    """Time `epochs` epochs of batches in a round. waited: as in `timed_on`."""

    def load() -> int:
        return sum(len(images) for _ in range(epochs) for images in epoch())

    return Contender(name=name, lap=partial(timed_on, device, load, batch_size=batch_size, waited=waited))


def loader_contender(name: str, loader: Loader, epochs: int) -> Contender:
    """Time a loader."""
    return epochs_contender(
        name,
        lambda: (batch.images for batch in loader),
        epochs,
        batch_size=loader.batch_size,
        device=loader.device,
        waited=lambda: loader.wait_seconds,
    )


@contextmanager
def peer_contender(
    name: str, peer: str, words: Sequence[str], home: Path, device: torch.device = CPU
) -> Iterator[Contender]:
    """Start a peer's loader, a name of `MODULES`, if its environment exists. words: the arguments of its module.

    On a GPU it is absent.
    """
    if device.type != "cpu":
        yield Contender(name=name, absent=CPU_ONLY)
        return
    environment = ENVIRONMENTS.get(peer, peer)
    python = find_peer(environment, home)
    if python is None:
        yield Contender(name=name, absent=f"not installed in {home}; run: freelight benchmark peers {environment}")
        return
    with process_contender(name, python, MODULES[peer], words) as contender:
        yield contender


def ratio_floor(timings: Timings, name: str, base: str, at_least: float, *, group: str = "") -> Floor:
    """Compare two contenders; not checked if one is absent. group: what their full names begin with."""
    because = timings.why_absent(group + name, group + base)
    value = None if because else timings.ratio(group + name, group + base)
    return Floor(name=f"{group}{name} / {base}", value=value, because=because, at_least=at_least)


def ratio_figure(timings: Timings, name: str, base: str, *, group: str = "") -> Figure:
    """Compare two contenders, without a bound. group: what their full names begin with."""
    because = timings.why_absent(group + name, group + base)
    value = None if because else timings.ratio(group + name, group + base)
    return Figure(name=f"{group}{name} / {base}", value=value, because=because)
