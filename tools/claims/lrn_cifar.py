"""Section 3.3: a four-layer CNN on CIFAR-10 has 13 % test error without response normalisation, 11 % with it."""

from pathlib import Path
from statistics import mean

import click

from claims.charts import points_chart
from claims.command import claim
from claims.data import dataset_of, describe
from claims.finding import Finding, Row
from claims.pairs import Pairs
from claims.session import Session
from claims.training import Run, short_schedule

NETS = {
    "11pct": ("cifar-11pct", ()),
    "11pct-no-lrn": ("cifar-11pct", ("--set", "normalization=none")),
    "13pct": ("cifar-13pct", ()),
}
"""The 2012 code's net with normalisation; the same without, the pure ablation; and its net without."""


@claim("lrn-cifar")
@click.option("--epochs", default=10, show_default=True, type=click.IntRange(min=1), help="Of each net.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1), help="Runs of each net.")
@click.option("--width", default=1.0, show_default=True, help="Multiplies every layer but the last.")
def command(session: Session, data: Path, epochs: int, seeds: int, width: float) -> Finding:
    """Test error on CIFAR-10 with and without response normalisation, after equally many epochs.

    --data has train/ and test/ of class folders. The 2012 code's nets of 11 % and 13 % differ in width and decay too,
    so the pure ablation is beside them. Whoever wants the paper's figures gives --epochs 520.
    """
    session.plan(["make_shards", "compute_pca"] if not (data / "dataset.json").is_file() else [])
    session.plan([f"{net}-seed{seed}" for seed in range(seeds) for net in NETS])
    dataset = dataset_of(session, data, size=32)
    errors: dict[str, list[float]] = {net: [] for net in NETS}
    seconds: dict[str, float] = {}
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
            record = run.part(session, epochs)
            done = run.whole(record)
            errors[net].append(done[-1].val_top1)
            seconds[net] = mean(epoch.seconds for epoch in done)
    pure, nets = (Pairs(base=errors["11pct"], other=errors[other]) for other in ("11pct-no-lrn", "13pct"))
    paper = {"11pct": "11 %", "11pct-no-lrn": "-", "13pct": "13 %"}
    differences = {"11pct": "", "11pct-no-lrn": f"{pure} to 11pct", "13pct": f"{nets} to 11pct (paper +2)"}
    return Finding(
        claim="lrn-cifar",
        rows=tuple(
            Row(
                what=f"{net}, test error",
                paper=paper[net],
                ours=f"{100 * mean(values):.1f} %",
                difference=differences[net],
            )
            for net, values in errors.items()
        ),
        conditions=(
            describe(dataset),
            f"{epochs} epochs each (the 2012 code: 520), rates / 10 after 7 and 9 tenths of them, width {width:g}, "
            f"batch 128, 24 x 24 crops and flips; seeds 0..{seeds - 1}",
            "test error: centre view of the last epoch's net (the 2012 code averaged nine crops)",
            "seconds an epoch: " + ", ".join(f"{value:.0f} ({net})" for net, value in seconds.items()),
        ),
        figures={"test_top1": errors, "no_lrn": pure.figures(), "13pct": nets.figures()},
        picture=points_chart(
            f"CIFAR-10 test error after {epochs} epochs",
            {net: [100 * error for error in values] for net, values in errors.items()},
            y="error, %",
        ),
        tables=(pure.table("11pct", "11pct-no-lrn"),),
        verdict=f"without normalisation: {pure.verdict()}",
    )
