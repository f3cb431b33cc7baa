"""The loader compared with its own graph, plain DALI, FFCV, and webdataset with torchvision; its memory and start."""

import sysconfig
import tempfile
from itertools import chain
from pathlib import Path
from statistics import mean

import click
import torch

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.device import threads_for
from freelight.benchmarks.loading import Part
from freelight.benchmarks.machine import CHECKOUT, DALI_WHEEL, machine_facts
from freelight.benchmarks.peers import find_peer, peers_option
from freelight.benchmarks.process import run_module
from freelight.benchmarks.random_crops import measure_random_crops
from freelight.benchmarks.repeated import repeat_samples
from freelight.benchmarks.report import Floor, Report
from freelight.benchmarks.resized_crops import measure_resized_crops
from freelight.benchmarks.timing import Timings
from freelight.shards import Dataset, FreelightError

IMAGENET = 1_281_167
FEW, STEPS = 4, 20  # pictures for the ResNet-50 to learn, all in one batch, and training steps


@benchmark(
    "loader",
    on_device=True,
    examples=(
        "freelight benchmark loader --shards dataset --rounds 4",
        "freelight benchmark loader --images imagenet-samples --record loader.json",
    ),
)
@click.option("--shards", type=click.Path(path_type=Path), help="Dataset directory of squares, with statistics.")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Photographs, as for make_shards --images, to compare random resized crops on in each geometry.",
)
@click.option("--batch-size", default=128, show_default=True, type=click.IntRange(min=1), help="Images per batch.")
@click.option(
    "--epochs", default=2, show_default=True, type=click.IntRange(min=1), help="Epochs of --shards in each round."
)
@click.option(
    "--memory-epochs",
    default=50,
    show_default=True,
    type=click.IntRange(min=1),
    help="Epochs over which memory growth is measured.",
)
@peers_option
def command(
    shards: Path | None,
    images: Path | None,
    batch_size: int,
    epochs: int,
    memory_epochs: int,
    peers: Path,
    device: torch.device,
    rounds: int,
) -> Report:
    """Measure loading on two threads, and the loader's memory.

    Every contender makes crops of 224 pixels, flips them, and returns a torch tensor on the device. On a GPU, where the
    peers are absent, each uses as many threads as the machine has cores, at most 16.

    With --shards, random crops of squares. For each kind of mean: the loader, and its own DALI graph over JPEGs in
    memory. Also: DALI's decoding and cropping without a flip; FFCV on the same JPEGs and on raw pixels, compared with
    the loader in FFCV's memory layout, NHWC; the loader with decoded pixels, in a temporary folder, and DALI's graph
    over pixels in memory; and webdataset with torchvision's v2 transforms in two processes. Then
    measures the loader's memory, and its time to the first batch of a dataset of ImageNet's size. Last, runs the
    README's training of torchvision's ResNet-50 on a few pictures.

    With --images, random resized crops. Makes a dataset of each geometry from the photographs, in a temporary folder.
    On each, one epoch in a round: the loader, plain DALI, FFCV on the same JPEGs, and webdataset with torchvision; and
    DALI's decoding of whole images and of the windows only. Prints the rows of the table in docs/geometries.md.
    """
    if not shards and not images:
        raise FreelightError("there is nothing to load; give `shards`, `images` or both")
    machine = machine_facts((DALI_WHEEL, "torch", "numpy"))
    parts: list[Part] = []
    floors: list[Floor] = []
    if shards:
        dataset = Dataset(shards)
        parts.append(
            measure_random_crops(
                dataset, batch_size=batch_size, epochs=epochs, rounds=rounds, peers=peers, device=device
            )
        )
        floors += _probe_floors(dataset, memory_epochs, peers, device)
    if images:
        parts.append(measure_resized_crops(images, batch_size=batch_size, rounds=rounds, peers=peers, device=device))
    return Report(
        benchmark="loader",
        item="images",
        settings={
            "shards": shards,
            "images": images,
            "device": device,
            "threads": threads_for(device),
            "batch size": batch_size,
            "epochs": epochs if shards else None,
            "memory epochs": memory_epochs if shards else None,
        },
        machine=machine,
        timings=Timings.joined(part.timings for part in parts),
        floors=(*chain.from_iterable(part.floors for part in parts), *floors),
        figures=tuple(chain.from_iterable(part.figures for part in parts)),
        notes=tuple(chain.from_iterable(part.notes for part in parts)),
        tables=tuple(chain.from_iterable(part.tables for part in parts)),
    )


def _probe_floors(dataset: Dataset, memory_epochs: int, peers: Path, device: torch.device) -> tuple[Floor, ...]:
    """Measure the loader's memory and start, and train the README's ResNet-50."""
    memory = _probe("memory", device, dataset.folder, 256, memory_epochs)
    with tempfile.TemporaryDirectory(prefix="freelight-benchmark-") as folder:
        start = _probe("start", device, repeat_samples(dataset, "train", IMAGENET, Path(folder, "large")).folder)
        lines = _readme_lines(repeat_samples(dataset, "train", FEW, Path(folder, "few")), peers)
    on_gpu = device.type != "cpu"
    return (
        # CUDA and DALI's libraries for it take memory of the host too.
        Floor(name="peak memory, batches of 256", value=memory["peak_mb"], unit="MB", at_most=6000 if on_gpu else 1500),
        Floor(name="growth of memory from epoch 5 on", value=memory["growth_percent"], unit="%", at_most=2),
        *(
            [Floor(name="growth of the GPU's memory", value=memory["gpu_growth_percent"], unit="%", at_most=2)]
            if on_gpu
            else []
        ),
        Floor(name=f"first batch of {IMAGENET:,} samples", value=start["seconds"], unit="s", at_most=3),
        Floor(name="order and draws of these", value=start["draws_mb"], unit="MB", at_most=200),
        lines,
    )


def _readme_lines(few: Dataset, home: Path) -> Floor:
    """Run the README's training in torchvision's environment. The loss must fall."""
    name, at_most = f"loss of the README's ResNet-50, last of {STEPS} steps / first", 0.9
    python = find_peer("torchvision", home)
    if python is None or CHECKOUT is None:
        because = f"torchvision is absent (not installed in {home})" if python is None else "there is no README here"
        return Floor(name=name, value=None, because=because, at_most=at_most)
    words = (few.folder, FEW, STEPS, sysconfig.get_path("purelib"))
    losses = run_module("freelight.benchmarks.readme_block", *words, python=python)
    return Floor(name=name, value=mean(losses[-5:]) / mean(losses[:5]), at_most=at_most)


def _probe(*words: object) -> dict[str, float]:
    """Measure the loader in a new process."""
    found: dict[str, float] = run_module("freelight.benchmarks.loader_probe", *words)
    return found
