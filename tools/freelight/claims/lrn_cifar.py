"""Section 3.3: a four-layer CNN on CIFAR-10 has 13 % test error without response normalisation, 11 % with it."""

from pathlib import Path
from statistics import mean
from typing import Any

import click

from freelight.claims.charts import points_chart
from freelight.claims.command import claim
from freelight.claims.data import dataset_of, describe, measured_split
from freelight.claims.finding import Finding, Row
from freelight.claims.pairs import Pairs, known, left_out
from freelight.claims.session import Session
from freelight.claims.training import Run, dropped, epochs_of, seconds_per_epoch, short_schedule

NETS = {
    "11pct": ("cifar-11pct", ()),
    "11pct-no-lrn": ("cifar-11pct", ("--set", "normalization=none")),
    "13pct": ("cifar-13pct", ()),
}
"""The 2012 code's network with normalisation, the same without it, and that code's own network without it."""
PAPER = {"11pct": 11, "13pct": 13}


@claim(
    "lrn-cifar",
    examples=(
        "freelight reproduce lrn-cifar --data cifar-10-binary.tar.gz --out lrn",
        "freelight reproduce lrn-cifar --data cifar-10-python.tar.gz --out lrn --epochs 30 --seeds 3",
    ),
)
@click.option("--epochs", default=10, show_default=True, type=click.IntRange(min=1), help="Epochs per network.")
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Runs per network: seeds 0, 1, ...",
)
@click.option("--width", default=1.0, show_default=True, help="Factor for the width of all layers except the last.")
def command(session: Session, data: Path, epochs: int, seeds: int, width: float) -> Finding:
    """Compare the error on CIFAR-10 with and without response normalisation.

    --data is cifar-10-binary.tar.gz or cifar-10-python.tar.gz as downloaded, or has train/ and test/ with class
    folders. If it has val/, or is another dataset, the error is measured on val. The 11 % and 13 % networks of the 2012
    code also differ in width and weight decay, so the 11 % network without normalisation is measured too. The paper's
    figures are for --epochs 520.
    """
    session.plan(["make_shards", "compute_pca"] if not (data / "dataset.json").is_file() else [])
    session.plan([f"{net}-seed{seed}" for seed in range(seeds) for net in NETS])
    dataset = dataset_of(session, data, size=32)
    errors: dict[str, list[float | None]] = {net: [] for net in NETS}
    records: dict[str, dict[str, Any]] = {}
    for seed in range(seeds):
        for net, (recipe, settings) in NETS.items():
            name = f"{net}-seed{seed}"
            run = Run(
                name=name,
                dataset=Path(dataset.folder),
                folder=session.out / "runs" / name,
                options=("--recipe", recipe, *short_schedule(epochs), "--width", f"{width:g}", *settings),
                seed=seed,
            )
            records[name] = run.part(session, epochs)
            done = epochs_of(records[name])
            errors[net].append(None if done is None else done[-1].val_top1)
    split, images = measured_split(data, dataset), dataset.manifest.splits["val"].samples
    pure, nets = (
        Pairs(names=("11pct", other), base=errors["11pct"], other=errors[other], images=images, split=split)
        for other in ("11pct-no-lrn", "13pct")
    )
    paper = PAPER["13pct"] - PAPER["11pct"]
    points = {net: known(found) for net, found in errors.items()}
    return Finding(
        claim="lrn-cifar",
        rows=(
            *(_row(net, split, found) for net, found in points.items()),
            Row(
                what="13pct less 11pct",
                paper=f"{paper:+d}",
                ours=f"{nets}",
                difference=nets.less(paper),
            ),
            Row(what="11pct-no-lrn less 11pct", paper="-", ours=f"{pure}"),
        ),
        conditions=(
            describe(dataset),
            f"{epochs} epochs each (the 2012 code: 520), {dropped(epochs)}, width {width:g}, "
            f"batch 128, 24 x 24 crops and flips; seeds 0..{seeds - 1}",
            f"{split} error: centre view of the last epoch's net (the 2012 code: nine crops of each test image)",
            *filter(None, [left_out(errors)]),
            seconds_per_epoch(records),
        ),
        figures={f"{split}_top1": errors, "no_lrn": pure.figures(), "13pct": nets.figures()},
        picture=points_chart(f"CIFAR-10 {split} error after {epochs} epochs", points, y="error, %"),
        tables=(pure.table(),),
        verdict=f"without normalisation: {pure.verdict()}\n13pct less 11pct: {nets.verdict(paper)}",
    )


def _row(net: str, split: str, errors: list[float]) -> Row:
    """Return the row of a network. errors: of the seeds that did not diverge, in %."""
    paper, ours = PAPER.get(net), mean(errors) if errors else None
    return Row(
        what=f"{net}, {split} error",
        paper="-" if paper is None else f"{paper} %",
        ours="diverged" if ours is None else f"{ours:.1f} %",
        difference="" if paper is None or ours is None else f"{ours - paper:+.1f}",
    )
