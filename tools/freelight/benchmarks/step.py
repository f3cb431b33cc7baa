"""A training step of the full network, for the benchmarks of training; and the settings that its speed depends on."""

import itertools
from functools import cache, partial

import click
import torch
import torch.nn.functional as F

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.device import CPU, timed_on
from freelight.benchmarks.machine import machine_facts
from freelight.benchmarks.report import Figure, Report
from freelight.benchmarks.timing import Contender, interleave
from freelight.train import (
    RECIPES,
    Columns,
    DropoutMasks,
    Network,
    PaperSGD,
    Precision,
    Recipe,
    layer_sizes,
    use_large_pages,
)

CLASSES = 1000
PRECISIONS = ("float32", "tf32", "bfloat16")


class Step:
    """The network of a recipe with 1,000 classes, in its precision. A call takes a step and returns the number of
    images; `loss` is then the batch's mean, on the device.

    compile_: compile the response normalisation. columns: the columns of the network that this process computes.
    channels_last: memory order.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        compile_: bool,
        columns: Columns = Columns(),  # noqa: B008
        device: torch.device = CPU,
        channels_last: bool = False,
    ) -> None:
        self.precision = Precision(recipe.precision, channels_last, str(device))
        self.network = self.precision.place(
            Network(recipe.network, classes=CLASSES, columns=columns, compile_=compile_)
        )
        self.optimizer = PaperSGD(self.network.named_parameters(), recipe)
        self.steps = 0

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> int:
        """Run forward, backward and update. labels: (n,).

        images: (n, 3, 224, 224), or (n, 224, 224, 3) if channels-last, as the trainer's loader returns them.
        """
        with self.precision.arithmetic():
            with self.precision.autocast():
                logits = self.network.forward_masked(self.precision.inputs(images), DropoutMasks(0, self.steps))
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step(lambda _: 1e-4)
        self.steps += 1
        self.loss = loss.detach()
        return len(labels)


@cache
def random_batch(images: int, device: torch.device = CPU) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random images, -128 to 127, as after mean subtraction, and random labels; the same on every call."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(-128, 128, (images, 3, 224, 224), generator=generator).float()
    return pixels.to(device), torch.randint(CLASSES, (images,), generator=generator).to(device)


@benchmark(
    "step",
    on_device=True,
    examples=(
        "freelight benchmark step --width 0.25 --batch-size 32",
        "freelight benchmark step --device cuda --precision tf32 --precision bfloat16",
    ),
)
@click.option(
    "--batch-size",
    "batch_sizes",
    multiple=True,
    type=click.IntRange(min=1),
    help="Images per step; repeat it for several. [default: 128, on a GPU also 512]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="Number format of the computation; repeat it for several. [default: all that the device has]",
)
@click.option("--width", default=1.0, show_default=True, help="Factor for the width of all layers except the last.")
def command(
    batch_sizes: tuple[int, ...], precisions: tuple[str, ...], width: float, device: torch.device, rounds: int
) -> Report:
    """Measure a training step by precision, memory order, compilation and batch size.

    A step is forward, backward and update of the recipe `paper`, on two threads of a CPU or on a GPU. Each precision is
    measured with activations in the order NCHW and channels-last, and with response normalisation compiled and not.
    """
    use_large_pages()
    torch.set_num_threads(2)
    machine = machine_facts(("torch", "numpy"))
    recipe = RECIPES["paper"].override([f"width={width}"])
    on_cpu = device.type == "cpu"
    sizes = batch_sizes or ((128,) if on_cpu else (128, 512))
    contenders = []
    wanted = precisions or [name for name in PRECISIONS if not (on_cpu and name == "tf32")]
    for precision, channels_last, compile_ in itertools.product(wanted, (False, True), (True, False)):
        given = recipe.override([f"precision={precision}"])
        step = Step(given, compile_=compile_, device=device, channels_last=channels_last)
        order, how = "channels-last" if channels_last else "NCHW", "compiled" if compile_ else "not compiled"
        for images in sizes:
            pixels, labels = random_batch(images, device)
            if channels_last:
                pixels = pixels.permute(0, 2, 3, 1).contiguous()
            lap = partial(timed_on, device, partial(step, pixels, labels), batch_size=images)
            contenders.append(Contender(name=f"{precision}, {order}, {how}, batch {images}", lap=lap))
    timings = interleave(contenders, rounds=rounds)
    names = [contender.name for contender in contenders]
    best = max(names, key=lambda name: timings.rate(name) or 0)
    macs = recipe.network.columns * sum(size.multiply_adds for size in layer_sizes(recipe, CLASSES))
    figures = [
        Figure(
            name=f"FLOP/s of a training step, 3 x 2 a multiply-add: {best}",
            value=6e-9 * macs * (timings.rate(best) or 0),
            unit="GFLOP/s",
        ),
        Figure(name=f"{best} / {names[0]}", value=timings.ratio(best, names[0])),
    ]
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 1e9
        figures.append(Figure(name="peak memory of the GPU, all contenders", value=peak, unit="GB"))
    return Report(
        benchmark="step",
        item="images",
        settings={"device": device, "width": width, "threads": 2},
        machine=machine,
        timings=timings,
        floors=(),
        figures=tuple(figures),
    )
