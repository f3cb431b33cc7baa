"""The paper's ablations: the full recipe against one change, over several seeds."""

from dataclasses import dataclass
from pathlib import Path

import click

from claims.charts import points_chart
from claims.command import claim
from claims.data import dataset_of, describe
from claims.finding import Finding, Row
from claims.pairs import Pairs
from claims.session import Session
from claims.training import Epoch, Run, short_schedule


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """settings: what `--set` changes. paper: how the paper's (or its code's) top-1 error changes, and on which set."""

    settings: tuple[str, ...]
    paper: str
    error: str = "val_top1"


ABLATIONS = {
    "half": Ablation(settings=("architecture=half",), paper="+1.7 (2010 test)"),
    "no-lrn": Ablation(settings=("normalization=none",), paper="+1.4 (2012 val)"),
    "pooling-2-2": Ablation(settings=("pooling=2/2",), paper="+0.4 (2012 val)"),
    "no-crops-flips": Ablation(
        settings=("crops=center", "flip_probability=0"), paper="substantial overfitting, no figure"
    ),
    "no-lighting": Ablation(settings=("lighting=off",), paper="+1 or more"),
    "no-dropout": Ablation(settings=("dropout=0",), paper="substantial overfitting, no figure"),
    "no-decay": Ablation(
        settings=("weight_decay=0", "bias_weight_decay=0"), paper="more training error, no figure", error="train_top1"
    ),
    "zero-biases": Ablation(settings=("initial_bias=0",), paper="slower at first, no figure", error="train_top1"),
    "no-conv2": Ablation(settings=("removed=conv2",), paper="about +2"),
    "no-conv3": Ablation(settings=("removed=conv3",), paper="about +2"),
    "no-conv4": Ablation(settings=("removed=conv4",), paper="about +2"),
    "no-conv5": Ablation(settings=("removed=conv5",), paper="about +2"),
    "no-links": Ablation(settings=("architecture=no-links",), paper="+1.2 (2012 code, 2012 val)"),
}
BASELINE = "baseline"


def setting_words(settings: tuple[str, ...]) -> tuple[str, ...]:
    """Turn settings into words of the command line."""
    return tuple(word for text in settings for word in ("--set", text))


@claim("ablation")
@click.argument("name", type=click.Choice(list(ABLATIONS)))
@click.option("--width", default=1.0, show_default=True, help="Of every layer but the last; 1: the full net.")
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Of each run, rates / 10 after 7 and 9 tenths of them.  [default: the recipe's 90, and its plateaus]",
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1), help="Runs with, and without.")
@click.option("--columns", default=1, show_default=True, type=click.IntRange(1, 2), help="Processes (GPUs) a network.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Of both, batch_size=64.")
def command(
    session: Session,
    data: Path,
    name: str,
    width: float,
    epochs: int | None,
    seeds: int,
    columns: int,
    settings: tuple[str, ...],
) -> Finding:
    """What one part of the paper's recipe is worth: the error without it less that with it.

    NAME is what is taken out. --data is a folder of images with train/ and val/ (or ImageNet's archives). Several
    ablations with one --out and the same options share the runs of the baseline.
    """
    ablation = ABLATIONS[name]
    session.plan(["make_shards", "compute_pca"] if not (data / "dataset.json").is_file() else [])
    session.plan([f"{which}-seed{seed}" for seed in range(seeds) for which in (BASELINE, name)])
    dataset = dataset_of(session, data, size=256)
    schedule = () if epochs is None else short_schedule(epochs)
    common = ("--width", f"{width:g}", *schedule, *setting_words(settings))
    ends: dict[str, list[Epoch]] = {BASELINE: [], name: []}
    for seed in range(seeds):
        for which in ends:
            own = () if which == BASELINE else setting_words(ablation.settings)
            # A net of one column fits one process only.
            processes = 1 if which == "half" else columns
            run = Run(
                name=f"{which}-seed{seed}",
                dataset=Path(dataset.folder),
                folder=session.out / "runs" / f"{which}-seed{seed}",
                options=(*common, *own, "--columns", str(processes)),
                seed=seed,
            )
            record = run.part(session, epochs)
            ends[which].append(run.whole(record)[-1])
    return finding(name, ends, describe(dataset), " ".join(common), epochs)


def finding(name: str, ends: dict[str, list[Epoch]], data: str, options: str, epochs: int | None) -> Finding:
    """Compare the last epochs of the runs with and without."""
    ablation = ABLATIONS[name]
    base, other = ([getattr(end, ablation.error) for end in ends[which]] for which in (BASELINE, name))
    pairs = Pairs(base=base, other=other)
    kind = "training error" if ablation.error == "train_top1" else "val error"
    return Finding(
        claim=f"ablation-{name}",
        rows=(Row(what=f"{name}, {kind}", paper=ablation.paper, ours=f"{pairs}", difference="see below"),),
        conditions=(
            data,
            f"recipe paper, {options or 'as it is'}; the change: {' '.join(ablation.settings)}; "
            f"{'the last of ' + str(epochs) if epochs else 'the last'} epochs; seeds 0..{len(base) - 1}",
            f"{kind}: top-1, "
            + (
                "mean over the last epoch, with crops and dropout as they are in training"
                if ablation.error == "train_top1"
                else "centre view of the last epoch's net"
            ),
            "the paper's figures are single runs of the full net on ImageNet",
        ),
        figures={
            "error": ablation.error,
            "pairs": pairs.figures(),
            **{which: [getattr(end, ablation.error) for end in found] for which, found in ends.items()},
        },
        picture=points_chart(
            f"{name}: {kind} of each seed",
            {which: [100 * getattr(end, ablation.error) for end in found] for which, found in ends.items()},
            y="error, %",
        ),
        tables=(pairs.table(BASELINE, name),),
        verdict=f"{name}: {pairs.verdict()}",
    )
