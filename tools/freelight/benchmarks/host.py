"""The host's own cost: what Python and its libraries take of a processor beside decoding and training."""

from itertools import chain
from pathlib import Path

import click
import torch

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.device import threads_for
from freelight.benchmarks.host_loader import measure_loader_host
from freelight.benchmarks.host_step import measure_step_host
from freelight.benchmarks.machine import DALI_WHEEL, machine_facts
from freelight.benchmarks.report import Report
from freelight.benchmarks.timing import Timings


@benchmark(
    "host",
    on_device=True,
    examples=(
        "freelight benchmark host --shards dataset",
        "freelight benchmark host --shards dataset --device cuda --rounds 10",
    ),
)
@click.option("--shards", type=click.Path(path_type=Path), required=True, help="Dataset directory with statistics.")
@click.option("--batch-size", default=128, show_default=True, type=click.IntRange(min=1), help="Images per batch.")
def command(shards: Path, batch_size: int, device: torch.device, rounds: int) -> Report:
    """Measure the processor time that the host spends beside decoding.

    Iterates a loader with the paper's augmentation over `train`, on two threads of a CPU or on a GPU. Prints the
    processor time of its main thread, of its reading thread and of the whole process. Compares it with the loader's own
    DALI graph over JPEGs in memory, fed with tensor lists made beforehand or with an array for each image, and with
    reading and checking each JPEG alone. A split of less than 2,048 images is repeated to that number. Times are of a
    processor, not of a clock, so other work on the machine disturbs them little. The dataset must fit into the page
    cache.

    Then takes training steps of AlexNet's layers at width 0.02 on one thread, so small that Python and dispatch take
    most of the time: a whole step, with masks, update and metrics, less a bare forward, loss and backward.
    """
    parts = [
        measure_loader_host(shards, batch_size=batch_size, device=device, rounds=rounds),
        measure_step_host(shards, rounds=rounds),
    ]
    return Report(
        benchmark="host",
        item="images",
        settings={"shards": shards, "device": device, "batch size": batch_size, "threads": threads_for(device)},
        machine=machine_facts((DALI_WHEEL, "torch", "numpy")),
        timings=Timings.joined(part.timings for part in parts),
        floors=tuple(chain.from_iterable(part.floors for part in parts)),
        figures=tuple(chain.from_iterable(part.figures for part in parts)),
        notes=tuple(chain.from_iterable(part.notes for part in parts)),
    )
