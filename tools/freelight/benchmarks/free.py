"""The cost of augmentation: training on one cached batch, on plain crops, and on augmented crops."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import click
import torch

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.device import IdleTime, threads_for, timed_on
from freelight.benchmarks.machine import DALI_WHEEL, machine_facts
from freelight.benchmarks.report import Figure, Floor, Report
from freelight.benchmarks.step import Step, random_batch
from freelight.benchmarks.timing import Contender, Lap, interleave
from freelight.pipeline import Batch, Loader
from freelight.shards import Dataset, Statistics
from freelight.train import RECIPES, use_large_pages

CACHED, PLAIN, AUGMENTED = "one cached batch", "centre crops", "random crops, flips and lighting"


@benchmark(
    "free",
    on_device=True,
    examples=(
        "freelight benchmark free --shards dataset --batch-size 32",
        "freelight benchmark free --shards dataset --device cuda --steps 20",
    ),
)
@click.option("--shards", type=click.Path(path_type=Path), required=True, help="Dataset directory with statistics.")
@click.option("--batch-size", default=128, show_default=True, type=click.IntRange(min=1), help="Images per step.")
@click.option("--steps", default=2, show_default=True, type=click.IntRange(min=1), help="Steps in each round.")
def command(shards: Path, batch_size: int, steps: int, device: torch.device, rounds: int) -> Report:
    """Measure training steps with and without loading and augmentation.

    Trains the full network on two threads: on one cached batch; on batches from the pipeline with centre crops and the
    mean image subtracted; and on batches augmented as in the recipe `paper`. Also prints the share of time that the
    last one waits for data: on a GPU, the share of time that it has no work between two steps.
    """
    use_large_pages()
    torch.set_num_threads(2)
    machine = machine_facts((DALI_WHEEL, "torch", "numpy"))
    recipe, dataset, statistics = RECIPES["paper"], Dataset(shards), Statistics.load(shards)
    step = Step(recipe, compile_=True, device=device)
    transforms = {PLAIN: recipe.evaluation_transform(views=1), AUGMENTED: recipe.training_transforms().at(0)}
    runs = {
        name: Run(
            Loader(
                dataset,
                "train",
                batch_size=batch_size,
                transform=transform,
                statistics=statistics,
                last="drop",
                device=device,
                num_threads=threads_for(device),
            )
        )
        for name, transform in transforms.items()
    }
    pixels = random_batch(batch_size, device)

    def cached() -> int:
        return sum(step(*pixels) for _ in range(steps))

    timings = interleave(
        [
            Contender(name=CACHED, lap=partial(timed_on, device, cached, batch_size=batch_size)),
            *(Contender(name=name, lap=partial(run.lap, step, steps)) for name, run in runs.items()),
        ],
        rounds=rounds,
    )
    return Report(
        benchmark="free",
        item="images",
        settings={
            "shards": shards,
            "batch size": batch_size,
            "steps": steps,
            "device": device,
            "threads": threads_for(device),
        },
        machine=machine,
        timings=timings,
        floors=tuple(
            Floor(name=f"time, {AUGMENTED} / {base}", value=timings.ratio(base, AUGMENTED), at_most=1.03)
            for base in (PLAIN, CACHED)
        ),
        figures=(Figure(name="wait for data", value=100 * runs[AUGMENTED].wait_share, unit="%"),),
    )


class Run:
    """Training on the batches of a loader, epoch after epoch. wait_share: wait for data / time of all laps, 0..1."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.batches = self._endless()
        self.idle = IdleTime(loader.device)
        self.seconds = 0.0

    def _endless(self) -> Iterator[Batch]:
        while True:
            yield from self.loader

    def lap(self, step: Step, steps: int) -> Lap:
        """Take `steps` steps."""
        loader = self.loader
        self.idle.interrupt()
        lap = timed_on(
            loader.device,
            lambda: sum(self._step(step, batch) for batch in islice(self.batches, steps)),
            batch_size=loader.batch_size,
            waited=lambda: loader.wait_seconds,
        )
        self.seconds += lap.seconds
        return lap

    def _step(self, step: Step, batch: Batch) -> int:
        self.idle.step_begins()
        images = step(batch.images, batch.labels)
        self.idle.step_ended()
        return images

    @property
    def wait_share(self) -> float:
        waited = self.loader.wait_seconds if self.loader.device.type == "cpu" else self.idle.seconds
        return waited / self.seconds
