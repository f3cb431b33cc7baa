"""Other models reuse the pipeline: ResNet-18 learns as well from our batches as from torchvision's own."""

import json
import math
import sysconfig
from pathlib import Path
from statistics import mean, median
from typing import Any

import click
import numpy as np
from scipy import stats

from freelight.benchmarks.peers import HOME, find_peer
from freelight.claims.charts import points_chart
from freelight.claims.command import claim
from freelight.claims.data import dataset_of, describe
from freelight.claims.finding import Finding, Row
from freelight.claims.pairs import CONFIDENCE, Pairs
from freelight.claims.session import Session
from freelight.shards import FreelightError
from freelight.shards.base import flag, integer, list_of, mapping, number, record, text

LOADERS = ("torchvision", "freelight")
AUGMENTATIONS = {
    "plain": "random resized crop, flip",
    "strong": "random resized crop, flip, RandAugment, erasing of 25 %, mixup of 0.2",
}
TRAINING = Path(__file__).with_name("reuse_training.py")
_HOLDS = record(
    {
        "classes": list_of(text()),
        "initial_weights": text(),
        "right": list_of(flag),
        "final_loss": number(),
        "images_per_second": number(least=0),
        "wait": number(least=0, most=1),
        "first_batch_seconds": number(least=0),
        "versions": mapping(text()),
        "seed": integer(least=0),
    }
)
"""What the record of a run's part holds."""


@claim(
    "reuse",
    examples=(
        "freelight reproduce reuse --data photos --out reuse",
        "freelight reproduce reuse --data photos --out reuse --epochs 10 --seeds 3",
    ),
)
@click.option("--epochs", default=20, show_default=True, type=click.IntRange(min=1), help="Epochs per run.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(min=1), help="Runs of each kind.")
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(min=1), help="Images per step.")
@click.option("--crop", default=64, show_default=True, type=click.IntRange(min=8), help="Side of the crops, pixels.")
@click.option(
    "--peers",
    type=click.Path(path_type=Path, file_okay=False),
    default=HOME,
    show_default="build/peers of the checkout",
    help="Folder with torchvision's environment; make it with: freelight benchmark peers torchvision.",
)
def command(session: Session, data: Path, epochs: int, seeds: int, batch_size: int, crop: int, peers: Path) -> Finding:
    """Compare ResNet-18 trained by torchvision's loader and by ours.

    --data is a folder of images with train/ and val/. One file trains both, from equal weights; only the loader of the
    training images differs: torchvision's ImageFolder and v2 transforms with two workers, or ours with two threads over
    the same files. The error is measured by torchvision's loader for both.
    """
    python = find_peer("torchvision", peers)
    if python is None:
        raise FreelightError(f"torchvision is not installed in {peers}; run: freelight benchmark peers torchvision")
    if not all((data / split).is_dir() for split in ("train", "val")):
        raise FreelightError(f"`data` {data} must be a folder of images with train/ and val/")
    kinds = [(augmentation, loader) for augmentation in AUGMENTATIONS for loader in LOADERS]
    session.plan(["make_shards", *(f"{a}-{loader}-seed{seed}" for seed in range(seeds) for a, loader in kinds)])
    dataset = dataset_of(session, data, size=None)
    records: dict[tuple[str, str], list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for seed in range(seeds):
        for augmentation, loader in kinds:
            name = f"{augmentation}-{loader}-seed{seed}"
            out = session.out / f"{name}.json"
            numbers = map(str, (seed, epochs, batch_size, crop))
            words = [loader, augmentation, str(data), str(dataset.folder), *numbers, str(out)]

            def work(words: list[str] = words, name: str = name, out: Path = out, seed: int = seed) -> dict[str, Any]:
                packages = ("env", f"PACKAGES={sysconfig.get_path('purelib')}")
                session.must_call([*packages, str(python), str(TRAINING), *words], session.out / f"{name}.log")
                result: dict[str, Any] = json.loads(out.read_text("ascii"))
                return {**result, "seed": seed}

            typed = ["python", str(TRAINING), *words]
            records[augmentation, loader].append(session.part(name, typed, work, Path(dataset.folder), _HOLDS))
    _check_equal(records, [info.id for info in dataset.manifest.classes])
    return finding(records, describe(dataset), f"{epochs} epochs, batch {batch_size}, {crop} pixels")


def _check_equal(records: dict[tuple[str, str], list[dict[str, Any]]], classes: list[str]) -> None:
    """Raise `FreelightError` unless runs of one seed began with equal weights, and all have the dataset's classes."""
    for runs in zip(*records.values(), strict=True):
        if len({run["initial_weights"] for run in runs}) > 1:
            raise FreelightError(f"the runs of seed {runs[0]['seed']} began with different weights; give another `out`")
        if any(run["classes"] != classes for run in runs):
            raise FreelightError("ImageFolder has other classes than the dataset; give another `data`")


def finding(records: dict[tuple[str, str], list[dict[str, Any]]], data: str, options: str) -> Finding:
    """Compare the loaders for each augmentation."""
    rows, tables, verdicts, figures = [], [], [], {}
    errors = {kind: [1 - mean(run["right"]) for run in runs] for kind, runs in records.items()}
    for augmentation in AUGMENTATIONS:
        theirs, ours = (augmentation, LOADERS[0]), (augmentation, LOADERS[1])
        images = len(records[ours][0]["right"])
        pairs = Pairs(names=LOADERS, base=errors[theirs], other=errors[ours], images=images, split="val")
        by_image = paired_by_image(records[theirs], records[ours])
        rows.append(Row(what=f"{augmentation}, val error, ours less torchvision's", paper="-", ours=f"{pairs}"))
        rows.append(Row(what=f"{augmentation}, images/s of training", paper="-", ours=_speeds(records, augmentation)))
        tables.append(pairs.table())
        shift, margin = by_image
        verdicts.append(
            f"{augmentation}: {pairs.verdict()}; paired by image {shift - margin:+.2f}..{shift + margin:+.2f} (95 %)"
        )
        figures[augmentation] = {"seeds": pairs.figures(), "by_image": {"mean": shift, "margin95": margin}}
    versions = ", ".join(f"{name} {version}" for name, version in records["plain", "freelight"][0]["versions"].items())
    return Finding(
        claim="reuse",
        rows=tuple(rows),
        conditions=(
            data,
            f"torchvision's ResNet-18, {options}, seeds 0..{len(errors['plain', 'freelight']) - 1}, equal initial "
            f"weights; SGD, one cycle to 0.1; {versions}",
            *(f"{name}: {what}" for name, what in AUGMENTATIONS.items()),
            "torchvision: ImageFolder, v2 transforms, two workers; ours: two threads; two threads train",
        ),
        figures={"val_top1": {"-".join(kind): found for kind, found in errors.items()}, **figures},
        picture=points_chart(
            "ResNet-18, val error of each seed",
            {" ".join(kind): [100 * error for error in found] for kind, found in errors.items()},
            y="error, %",
        ),
        tables=tuple(tables),
        verdict="\n".join(verdicts),
    )


def paired_by_image(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the mean difference of the errors, ours less theirs, and half its 95 % interval, in percentage points.

    Over images, each with the mean over the seeds: how the result would vary with other images.
    """
    first, second = (np.mean([run["right"] for run in runs], axis=0) for runs in (theirs, ours))
    differences = 100 * (first - second)
    spread = float(differences.std(ddof=1)) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    return float(differences.mean()), float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * spread


def _speeds(records: dict[tuple[str, str], list[dict[str, Any]]], augmentation: str) -> str:
    """Return images/s and the share of waiting of each loader as text; those of a busy machine are not quoted."""
    parts = []
    for loader in LOADERS:
        quiet = [run for run in records[augmentation, loader] if not run["machine"]["busy"]]
        if quiet:
            rate, wait = (median(run[key] for run in quiet) for key in ("images_per_second", "wait"))
            parts.append(f"{loader} {rate:.0f} (waiting {wait:.1%})")
        else:
            parts.append(f"{loader} not quoted, other work")
    return ", ".join(parts)
