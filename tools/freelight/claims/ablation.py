"""The paper's ablations: the full recipe against one change, over several seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from freelight.claims.charts import points_chart
from freelight.claims.command import claim
from freelight.claims.data import dataset_of, describe
from freelight.claims.finding import Finding, Row
from freelight.claims.pairs import Errors, Pairs, known, left_out
from freelight.claims.session import Session
from freelight.claims.training import Run, epochs_of, short_schedule
from freelight.shards import Dataset


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A change of the recipe.

    settings: for `train --set`. paper: change of the top-1 error in the paper or its code, and the test set, as text.
    points: that change, in percentage points. error: name of the error to compare. epoch: index of its epoch.
    """

    settings: tuple[str, ...]
    paper: str
    points: float | None = None
    error: str = "val_top1"
    epoch: int = -1


ABLATIONS = {
    "half": Ablation(settings=("architecture=half",), paper="+1.7 (2010 test)", points=1.7),
    "no-lrn": Ablation(settings=("normalization=none",), paper="+1.4 (2012 val)", points=1.4),
    "pooling-2-2": Ablation(settings=("pooling=2/2",), paper="+0.4 (2012 val)", points=0.4),
    "no-crops-flips": Ablation(
        settings=("crops=center", "flip_probability=0"), paper="substantial overfitting, no figure"
    ),
    "no-lighting": Ablation(settings=("lighting=off",), paper="+1 or more", points=1),
    "no-dropout": Ablation(settings=("dropout=0",), paper="substantial overfitting, no figure"),
    "no-decay": Ablation(
        settings=("weight_decay=0", "bias_weight_decay=0"), paper="more training error, no figure", error="train_top1"
    ),
    "zero-biases": Ablation(
        settings=("initial_bias=0",), paper="slower at first, no figure", error="train_top1", epoch=0
    ),
    "no-conv2": Ablation(settings=("removed=conv2",), paper="about +2", points=2),
    "no-conv3": Ablation(settings=("removed=conv3",), paper="about +2", points=2),
    "no-conv4": Ablation(settings=("removed=conv4",), paper="about +2", points=2),
    "no-conv5": Ablation(settings=("removed=conv5",), paper="about +2", points=2),
    "no-links": Ablation(settings=("architecture=no-links",), paper="+1.2 (2012 code, 2012 val)", points=1.2),
    "windowed": Ablation(settings=("order=windowed", "window=0.1"), paper="not in the paper"),
}
BASELINE = "baseline"


def setting_words(settings: tuple[str, ...]) -> tuple[str, ...]:
    """Return settings as command-line words: `--set` before each."""
    return tuple(word for text in settings for word in ("--set", text))


@claim(
    "ablation",
    examples=(
        "freelight reproduce ablation half --data photos --out ablations --width 0.25 --epochs 20",
        "freelight reproduce ablation no-lrn --data photos --out ablations --width 0.25 --epochs 20 --budget 60",
    ),
)
@click.argument("name", type=click.Choice(list(ABLATIONS)), metavar="NAME")
@click.option(
    "--width",
    default=1.0,
    show_default=True,
    help="Factor for the width of all layers except the last; 1 is the full network.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Epochs per run; rates fall tenfold after 70 % and 90 %. [default: the recipe's 90 and its plateaus]",
)
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of seeds; each runs with and without the part.",
)
@click.option(
    "--columns", default=1, show_default=True, type=click.IntRange(1, 2), help="Processes (GPUs) per network."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one setting of both recipes, such as batch_size=64.",
)
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
    """Measure what one part of the paper's recipe is worth.

    NAME is the change: half, no-lrn, pooling-2-2, no-crops-flips, no-lighting, no-dropout, no-decay, zero-biases,
    no-conv2, no-conv3, no-conv4, no-conv5, no-links, or windowed (samples from a window of 10 % of the shards). The
    result is the error with it minus the one without. --data is a folder of images with train/ and val/, or ImageNet's
    archives. Several ablations with the same --out and options share the runs of the baseline.
    """
    ablation = ABLATIONS[name]
    session.plan(["make_shards", "compute_pca"] if not (data / "dataset.json").is_file() else [])
    session.plan([f"{which}-seed{seed}" for seed in range(seeds) for which in (BASELINE, name)])
    dataset = dataset_of(session, data, size=256)
    schedule = () if epochs is None else short_schedule(epochs)
    common = ("--width", f"{width:g}", *schedule, *setting_words(settings))
    errors: dict[str, list[float | None]] = {BASELINE: [], name: []}
    for seed in range(seeds):
        for which in errors:
            own = () if which == BASELINE else setting_words(ablation.settings)
            # A network of one column runs in one process only.
            processes = 1 if which == "half" else columns
            run = Run(
                name=f"{which}-seed{seed}",
                dataset=Path(dataset.folder),
                folder=session.out / "runs" / f"{which}-seed{seed}",
                options=(*common, *own, "--columns", str(processes)),
                seed=seed,
            )
            done = epochs_of(run.part(session, epochs))
            errors[which].append(None if done is None else getattr(done[ablation.epoch], ablation.error))
    return finding(name, errors, dataset, " ".join(common), epochs)


def finding(name: str, errors: Mapping[str, Errors], dataset: Dataset, options: str, epochs: int | None) -> Finding:
    """Compare the runs with and without the change."""
    ablation = ABLATIONS[name]
    split, _, _ = ablation.error.partition("_")
    images = dataset.manifest.splits[split].samples
    pairs = Pairs(names=(BASELINE, name), base=errors[BASELINE], other=errors[name], images=images, split=split)
    kind = "training error" if split == "train" else "val error"
    epoch = "first" if ablation.epoch == 0 else "last"
    return Finding(
        claim=f"ablation-{name}",
        rows=(
            Row(
                what=f"{name}, {kind}",
                paper=ablation.paper,
                ours=f"{pairs}",
                difference=pairs.less(ablation.points),
            ),
        ),
        conditions=(
            describe(dataset),
            f"recipe paper, {options or 'as it is'}; the change: {' '.join(ablation.settings)}; "
            f"{epochs or 'all its'} epochs; seeds 0..{len(pairs.base) - 1}",
            f"{kind}: top-1, "
            + (
                f"mean over the {epoch} epoch, with crops and dropout as they are in training"
                if split == "train"
                else f"centre view of the {epoch} epoch's net"
            ),
            *filter(None, [left_out(errors)]),
            "the paper's figures are single runs of the full net on ImageNet",
        ),
        figures={"error": ablation.error, "epoch": epoch, "pairs": pairs.figures(), **errors},
        picture=points_chart(
            f"{name}: {kind} of each seed",
            {which: known(found) for which, found in errors.items()},
            y="error, %",
        ),
        tables=(pairs.table(),),
        verdict=f"{name}: {pairs.verdict(ablation.points)}",
    )
