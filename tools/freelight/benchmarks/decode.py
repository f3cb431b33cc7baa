"""DALI's JPEG decoding: threads, the hardware decoder's load, regions and chroma, and how far pixels are off."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch
from nvidia.dali import Pipeline, fn, types

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.device import CPU, threads_for
from freelight.benchmarks.loader_graphs import Feed, decoder_device, outputs_of, read_jpegs
from freelight.benchmarks.loading import epochs_contender
from freelight.benchmarks.machine import DALI_WHEEL, machine_facts
from freelight.benchmarks.report import Figure, Floor, Report
from freelight.benchmarks.timing import interleave
from freelight.pipeline import draw_epoch
from freelight.shards import Dataset
from freelight.shards.base import format_table

LOADS = (0.0, 0.65, 1.0)
"""Shares of a batch for a GPU's hardware decoder; DALI's default is 0.65."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to decode. load, fine: of a GPU only: the hardware decoder's share, and chroma as fine as the CPU's."""

    threads: int
    window: bool
    load: float | None = None
    fine: bool = True

    def __str__(self) -> str:
        own = [] if self.load is None else [f"load {self.load:g}", "fine chroma" if self.fine else "plain chroma"]
        return ", ".join(["window" if self.window else "whole and crop", f"{self.threads} threads", *own])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of DALI's decoder."""
        if self.load is None:
            return {}
        return {"hw_decoder_load": self.load, "jpeg_fancy_upsampling": self.fine}


def every_way(device: torch.device, threads: tuple[int, ...], loads: tuple[float, ...]) -> list[Way]:
    """Return all that applies to a device."""
    if device.type == "cpu":
        return [Way(threads=count, window=window) for count in threads for window in (True, False)]
    return [
        Way(threads=count, window=window, load=load, fine=fine)
        for count, load, window, fine in itertools.product(threads, loads, (True, False), (True, False))
    ]


@benchmark(
    "decode",
    on_device=True,
    examples=(
        "freelight benchmark decode --shards dataset --decode-threads 1 --decode-threads 2",
        "freelight benchmark decode --shards dataset --device cuda --load 0 --load 0.65",
    ),
)
@click.option("--shards", type=click.Path(path_type=Path), required=True, help="Dataset directory.")
@click.option("--batch-size", default=128, show_default=True, type=click.IntRange(min=1), help="Images per batch.")
@click.option(
    "--decode-threads",
    "threads",
    multiple=True,
    type=click.IntRange(min=1),
    help="CPU threads; repeat it for several. [default: 1 and 2, or 1, 4 and all cores of a GPU's host, at most 16]",
)
@click.option(
    "--load",
    "loads",
    multiple=True,
    type=click.FloatRange(0, 1),
    help="Share of a batch for a GPU's hardware decoder; repeat it for several. [default: 0, 0.65 and 1]",
)
@click.option(
    "--window-side",
    "share",
    default=0.875,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Side of the windows, relative to that of the image: 0.875 is 224 of 256 pixels.",
)
def command(
    shards: Path,
    batch_size: int,
    threads: tuple[int, ...],
    loads: tuple[float, ...],
    share: float,
    device: torch.device,
    rounds: int,
) -> Report:
    """Measure ways to decode JPEGs, and how far their pixels are from the CPU's.

    Decodes one random window of each image, from JPEGs in memory: only the window, or the whole image and a crop of it.
    Each with several numbers of threads; on a GPU also with several loads of its hardware decoder, and with chroma as
    fine as the CPU's or plain. Compares the first batch with the same windows decoded on the CPU.
    """
    machine = machine_facts((DALI_WHEEL, "torch", "numpy"))
    dataset = Dataset(shards)
    jpegs, windows = read_jpegs(dataset), draw_windows(dataset, share)
    given = threads or ((1, 2) if device.type == "cpu" else tuple(sorted({1, 4, threads_for(device)})))
    ways = {str(way): way for way in every_way(device, given, loads or LOADS)}
    epochs = {name: window_epochs(jpegs, windows, batch_size, device, way) for name, way in ways.items()}
    expected = first_pixels(window_epochs(jpegs, windows, batch_size, CPU, Way(threads=2, window=True)))
    off = {name: differences(first_pixels(epoch), expected) for name, epoch in epochs.items()}
    timings = interleave(
        [epochs_contender(name, epoch, 1, batch_size=batch_size, device=device) for name, epoch in epochs.items()],
        rounds=rounds,
    )
    best = max(ways, key=lambda name: timings.rate(name) or 0)
    worst = max(off[name][0] for name, way in ways.items() if way.fine)
    return Report(
        benchmark="decode",
        item="images",
        settings={"shards": shards, "device": device, "batch size": batch_size, "window": share},
        machine=machine,
        timings=timings,
        floors=(Floor(name="greatest mean difference to the CPU, fine chroma", value=worst, unit="levels", at_most=1),),
        figures=(Figure(name=f"most images/s: {best}", value=timings.rate(best) or 0, unit="images/s"),),
        notes=(f"{len(jpegs)} JPEGs of {sum(map(len, jpegs)) / len(jpegs) / 1000:.1f} kB on average",),
        tables=(
            format_table(
                ("difference to the CPU, grey levels", "mean", "greatest", ""),
                [(name, f"{mean:.3f}", f"{most}", "") for name, (mean, most) in off.items()],
            ),
        ),
    )


def draw_windows(dataset: Dataset, share: float) -> dict[str, npt.NDArray[np.int32]]:
    """Return start and shape of a window of each image of train, (n, 2) each, in the order of `read_jpegs`."""
    split = dataset.split("train")
    sizes = split.sizes[draw_epoch(len(split), seed=0, epoch=0).order]
    shape = np.maximum(1, np.round(share * sizes)).astype(np.int32)
    start = np.random.default_rng(0).integers(0, sizes - shape + 1, dtype=np.int32)
    return {"start": start, "shape": shape}


def window_epochs(
    jpegs: list[Any], windows: dict[str, npt.NDArray[np.int32]], batch_size: int, device: torch.device, way: Way
) -> Callable[[], Iterator[Any]]:
    """Return an epoch of one window of each image: DALI's lists of uint8 (h, w, 3) on `device`."""
    pipeline = Pipeline(batch_size=batch_size, num_threads=way.threads, device_id=device.index, prefetch_queue_depth=3)
    with pipeline:
        jpeg, start, shape = fn.external_source(
            Feed(jpegs, windows, batch_size), num_outputs=3, dtype=[types.UINT8, types.INT32, types.INT32], ndim=[1] * 3
        )
        settings = {"device": decoder_device(device), **way.settings}
        if way.window:
            pixels = fn.decoders.image_slice(jpeg, start, shape, axis_names="HW", **settings)
        else:
            pixels = fn.slice(fn.decoders.image(jpeg, **settings), start, shape, axis_names="HW")
        pipeline.set_outputs(pixels)
    return lambda: outputs_of(pipeline)


def first_pixels(epoch: Callable[[], Iterator[Any]]) -> list[npt.NDArray[np.int16]]:
    """Run an epoch; return the images of its first batch."""
    first: list[npt.NDArray[np.int16]] = []
    for images in epoch():
        if not first:
            images = images.as_cpu()
            first = [np.asarray(images.at(place)).astype(np.int16) for place in range(len(images))]
    return first


def differences(pixels: list[npt.NDArray[np.int16]], expected: list[npt.NDArray[np.int16]]) -> tuple[float, int]:
    """Return the mean over all values of the absolute difference, and the greatest."""
    off = np.concatenate([np.abs(one - other).ravel() for one, other in zip(pixels, expected, strict=True)])
    return float(off.mean()), int(off.max())
