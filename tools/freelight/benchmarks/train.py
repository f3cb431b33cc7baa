"""A training step of the full network: cost of normalisation, two processes, and torchvision's AlexNet."""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click
import torch

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.device import CPU_ONLY, timed_on
from freelight.benchmarks.machine import machine_facts
from freelight.benchmarks.peers import find_peer, peers_option
from freelight.benchmarks.process import process_contender
from freelight.benchmarks.report import Figure, Floor, Report
from freelight.benchmarks.step import CLASSES, Step, random_batch
from freelight.benchmarks.timing import Contender, interleave
from freelight.train import RECIPES, layer_sizes, use_large_pages

WITHOUT, COMPILED, EAGER = "without normalisation", "normalised, compiled", "normalised, not compiled"
COLUMNS, TORCHVISION = "two processes, a column each", "torchvision's AlexNet"
TORCHVISION_MACS = (
    55**2 * 64 * 3 * 11**2
    + 27**2 * 192 * 64 * 5**2
    + 13**2 * (384 * 192 + 256 * 384 + 256 * 256) * 3**2
    + 9216 * 4096
    + 4096**2
    + 4096 * 1000
)
"""Multiply-adds per image of torchvision's network: 64-192-384-256-256 maps, ungrouped, no normalisation."""


@benchmark(
    "train",
    on_device=True,
    examples=(
        "freelight benchmark train",
        "freelight benchmark train --device cuda --batch-size 128 --record train.json",
    ),
)
@click.option("--batch-size", default=128, show_default=True, type=click.IntRange(min=1), help="Images per step.")
@peers_option
def command(batch_size: int, peers: Path, device: torch.device, rounds: int) -> Report:
    """Measure a training step of the full network on two threads.

    A step is forward, backward and update of 60,965,224 parameters. Measures it with response normalisation compiled,
    not compiled, and left out; in two processes with one thread and one column each; and for torchvision's AlexNet in
    its own environment, which a GPU leaves out.
    """
    use_large_pages()
    torch.set_num_threads(2)
    machine = machine_facts(("torch", "numpy"))
    recipe = RECIPES["paper"]
    pixels = random_batch(batch_size, device)
    steps = {
        WITHOUT: Step(recipe.override(["normalization=none"]), compile_=False, device=device),
        COMPILED: Step(recipe, compile_=True, device=device),
        EAGER: Step(recipe, compile_=False, device=device),
    }
    contenders = [
        Contender(name=name, lap=partial(timed_on, device, partial(step, *pixels), batch_size=batch_size))
        for name, step in steps.items()
    ]
    with ExitStack() as stack:
        enter, words = stack.enter_context, (str(batch_size), device.type)
        python = Path(sys.executable)
        contenders.append(enter(process_contender(COLUMNS, python, "freelight.benchmarks.columns_step", words)))
        peer = find_peer("torchvision", peers)
        if device.type != "cpu" or peer is None:
            why = f"not installed in {peers}; run: freelight benchmark peers" if device.type == "cpu" else CPU_ONLY
            contenders.append(Contender(name=TORCHVISION, absent=why))
        else:
            contenders.append(
                enter(process_contender(TORCHVISION, peer, "freelight.benchmarks.torchvision_step", words))
            )
        timings = interleave(contenders, rounds=rounds)
    because = timings.why_absent(TORCHVISION)
    faster = None if because else timings.ratio(COMPILED, TORCHVISION)
    own_macs = recipe.network.columns * sum(size.multiply_adds for size in layer_sizes(recipe, CLASSES))
    speed = timings.rate(COMPILED) or 0
    return Report(
        benchmark="train",
        item="images",
        settings={"device": device, "batch size": batch_size, "threads": 2},
        machine=machine,
        timings=timings,
        floors=(
            Floor(name=f"time, {COMPILED} / {WITHOUT}", value=timings.ratio(WITHOUT, COMPILED), at_most=1.35),
            Floor(name=f"{COLUMNS} / {COMPILED}", value=timings.ratio(COLUMNS, COMPILED), at_least=0.9),
        ),
        figures=(
            Figure(name=f"time, {EAGER} / {WITHOUT}", value=timings.ratio(WITHOUT, EAGER)),
            Figure(name=f"images/s, {COMPILED} / {TORCHVISION}", value=faster, because=because),
            Figure(
                name=f"FLOP/s, {COMPILED} / {TORCHVISION}",
                value=faster and faster * own_macs / TORCHVISION_MACS,
                because=because,
            ),
            Figure(
                name="FLOP/s of a training step, 3 x 2 a multiply-add", value=6e-9 * own_macs * speed, unit="GFLOP/s"
            ),
        ),
    )
