"""Augmentations: the loader against torchvision's v2 transforms, timm's loader and DALI's own; what each op costs."""

import math
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.dali_augmentations import augmenting_graph
from freelight.benchmarks.device import threads_for
from freelight.benchmarks.geometries import all_as_train
from freelight.benchmarks.loader_graphs import read_jpegs
from freelight.benchmarks.loading import (
    epochs_contender,
    loader_contender,
    peer_contender,
    ratio_figure,
    ratio_floor,
)
from freelight.benchmarks.machine import DALI_WHEEL, machine_facts
from freelight.benchmarks.mixing import GROUP, LERP, LERP_OUT, MIXED_SHARE, MIXUP, SHARE, measure_mixing
from freelight.benchmarks.op_costs import measure_ops
from freelight.benchmarks.peers import peers_option
from freelight.benchmarks.report import Report
from freelight.benchmarks.resized_crops import CROP, OFF
from freelight.benchmarks.sides.settings import MEAN, STD
from freelight.benchmarks.timing import Contender, Timings, interleave
from freelight.pipeline import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    Loader,
    Mix,
    Op,
    RandAugment,
    RandomErasing,
    Solarize,
    Transform,
    TrivialAugmentWide,
)
from freelight.shards import Dataset, ShardSettings, make_shards

LOADER, TENSOR, PIL, TIMM, DALI = "Freelight", "torchvision, tensor", "torchvision, PIL", "timm", "DALI"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One augmentation after random resized crop and flip.

    word: its name in the peers' modules. floors: the least speed relative to a contender. compared: the contenders.
    mix: of the loader's batches.
    """

    ops: tuple[Op, ...]
    word: str
    floors: tuple[tuple[str, float], ...] = ()
    compared: tuple[str, ...] = (TENSOR, PIL, TIMM, DALI)
    mix: Mix | None = None


ROWS = {
    "crop and flip": Row(ops=(), word="plain"),
    "ColorJitter": Row(
        ops=(ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),),
        word="jitter",
        floors=((TENSOR, 1.6), (PIL, 1.6)),
    ),
    "RandAugment": Row(
        ops=(RandAugment(n=2, magnitude=9),),
        word="rand",
        floors=((TENSOR, 1.5), (PIL, 1.5), (DALI, 2.0)),
    ),
    "TrivialAugmentWide": Row(
        ops=(TrivialAugmentWide(),),
        word="trivial",
        floors=((TENSOR, 1.5), (PIL, 1.5), (DALI, 2.0)),
        compared=(TENSOR, PIL, DALI),  # timm has none
    ),
    "RandAugment, erasing and Mixup": Row(
        ops=(RandAugment(n=2, magnitude=9), RandomErasing(p=0.25)),
        word="mixed",
        floors=((TENSOR, 1.5), (PIL, 1.5), (DALI, 2.0)),
        mix=Mix(mixup_alpha=0.2),
    ),
}


def only(operation: str) -> RandAugment:
    """Return a RandAugment that always draws the same operation."""

    class Only(RandAugment):
        names = (operation,)  # type: ignore[assignment]  # a tuple of any length

    return Only(n=1, magnitude=9)


PLAIN = Transform(crop=CROP, mean=MEAN, std=STD, lighting=OFF)
OPS: dict[str, Op] = {
    "ColorJitter(0.4, 0.4, 0.4, 0.1)": ROWS["ColorJitter"].ops[0],
    "GaussianBlur(p=1)": GaussianBlur(p=1.0),
    "Grayscale(p=1)": Grayscale(p=1.0),
    "Solarize(p=1)": Solarize(p=1.0),
    "RandomErasing(p=1)": RandomErasing(p=1.0),
    "RandAugment(n=2, magnitude=9)": ROWS["RandAugment"].ops[0],
    "TrivialAugmentWide()": ROWS["TrivialAugmentWide"].ops[0],
    **{f"{name}, magnitude 9": only(name) for name in RandAugment.names},
}


@benchmark(
    "augment",
    on_device=True,
    examples=(
        "freelight benchmark augment --images imagenet-samples",
        "freelight benchmark augment --images imagenet-samples --batch-size 64 --json",
    ),
)
@click.option(
    "--images", type=click.Path(path_type=Path), required=True, help="Photographs, as for make_shards --images."
)
@click.option("--batch-size", default=128, show_default=True, type=click.IntRange(min=1), help="Images per batch.")
@peers_option
def command(images: Path, batch_size: int, peers: Path, device: torch.device, rounds: int) -> Report:
    """Measure augmentations on two threads, and each op on one.

    Makes squares of 256 pixels from the photographs, in a temporary folder. For each row of augmentations, one epoch in
    a round: the loader; webdataset with torchvision's v2 transforms, on tensors and on PIL images; timm's loader; and
    DALI's own operators and stock policies. All make random resized crops of 224 pixels, flip, augment and normalize
    them to float32 on the device. Then measures what each op adds to the loader's graph per image, on one thread of a
    CPU; blending against one torch.lerp; and what mixing costs one of two ranks. On a GPU the peers are absent.
    """
    machine = machine_facts((DALI_WHEEL, "torch", "numpy"))
    several: list[Timings] = []
    with tempfile.TemporaryDirectory(prefix="freelight-benchmark-") as folder:
        dataset = _make_squares(images, Path(folder, "squares"))
        for name, row in ROWS.items():
            with ExitStack() as stack:
                contenders = list(_contenders(name, row, dataset, batch_size, peers, device, stack))
                several.append(interleave(contenders, rounds=rounds))
        costs = measure_ops(dataset, PLAIN, OPS, device=device, rounds=rounds)
        mixing = measure_mixing(dataset, PLAIN, batch_size, device, rounds)
    timings = Timings.joined([*several, costs.timings, mixing])
    return Report(
        benchmark="augment",
        item="images",
        settings={"images": images, "device": device, "threads": threads_for(device), "batch size": batch_size},
        machine=machine,
        timings=timings,
        floors=(
            *(
                ratio_floor(timings, LOADER, base, bound, group=f"{name}: ")
                for name, row in ROWS.items()
                for base, bound in row.floors
            ),
            ratio_floor(timings, MIXUP, LERP, 1 / 1.3, group=GROUP),
        ),
        figures=(
            *(
                ratio_figure(timings, LOADER, base, group=f"{name}: ")
                for name, row in ROWS.items()
                for base in row.compared
                if base not in dict(row.floors)
            ),
            ratio_figure(timings, MIXUP, LERP_OUT, group=GROUP),
            ratio_figure(timings, MIXED_SHARE, SHARE, group=GROUP),
        ),
        tables=(costs.table(),),
    )


def _make_squares(images: Path, folder: Path) -> Dataset:
    """Make the dataset in eight shards: four for each of the two processes of a peer."""
    source = all_as_train(images)
    make_shards(source, folder, ShardSettings(samples_per_shard=math.ceil(len(source.splits["train"]) / 8)))
    return Dataset(folder)


def _contenders(
    name: str, row: Row, dataset: Dataset, batch_size: int, peers: Path, device: torch.device, stack: ExitStack
) -> Iterator[Contender]:
    """Yield the contenders of one row; `stack` ends the processes of the peers."""
    loader = Loader(
        dataset,
        "train",
        batch_size=batch_size,
        transform=replace(PLAIN, ops=row.ops),
        mix=row.mix,
        device=device,
        num_threads=threads_for(device),
    )
    yield loader_contender(f"{name}: {LOADER}", stack.enter_context(loader), 1)
    jpegs = read_jpegs(dataset)
    graph = augmenting_graph(jpegs, batch_size, row.word, MEAN, STD, device)
    yield epochs_contender(f"{name}: {DALI}", graph, 1, batch_size=batch_size, device=device)
    folder, batch, constants = str(dataset.folder), str(batch_size), (*map(str, (*MEAN, *STD)), "1")
    for base, peer, words in (
        (TENSOR, "torchvision", (folder, "resized", batch, "tensor", row.word, *constants)),
        (PIL, "torchvision", (folder, "resized", batch, "PIL", row.word, *constants)),
        (TIMM, "timm", (folder, batch, row.word, *constants)),
    ):
        if base in row.compared:
            yield stack.enter_context(peer_contender(f"{name}: {base}", peer, words, peers, device))
