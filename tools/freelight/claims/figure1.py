"""Figure 1: a four-layer CNN reaches 25 % training error on CIFAR-10 several times faster with ReLU than with tanh."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import click
from PIL import Image

from freelight.claims.command import claim
from freelight.claims.data import dataset_of, describe
from freelight.claims.finding import Finding, Row
from freelight.claims.session import Session
from freelight.claims.training import Epoch, Run, epochs_of
from freelight.pipeline.pictures import framed
from freelight.shards import Dataset, FreelightError
from freelight.train.inspection import WIDE, Series, line_chart

TARGET = 0.25
PAPER_RATIO, PAPER_EPOCHS = 6.0, {"relu": ("5-6", 5, 6), "tanh": ("about 36", 36, 36)}
"""Epochs to 25 % by activation: as text, minimum, maximum."""
FACTOR = 3.0
"""Ratio between a rate that the search adds and its neighbour."""
MOST_RATES = 7


def floats(context: click.Context, option: click.Parameter, text: str) -> tuple[float, ...]:
    """Parse numbers separated by commas, and sort them."""
    try:
        rates = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise click.BadParameter(f"{text!r}: give numbers separated by commas") from None
    if len(rates) < 3 or rates[0] <= 0:
        raise click.BadParameter(f"{text!r}: give at least 3 positive rates")
    return rates


@claim("figure1")
@click.option(
    "--rates",
    default="0.0003,0.001,0.003",
    show_default=True,
    callback=floats,
    help="Learning rates to try first, at least 3.",
)
@click.option("--search-epochs", default=3, show_default=True, type=click.IntRange(min=1), help="Epochs of the search.")
@click.option(
    "--max-epochs",
    default=100,
    show_default=True,
    type=click.IntRange(min=1),
    help="Maximum number of epochs of the final runs.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of all runs.")
def command(
    session: Session, data: Path, rates: tuple[float, ...], search_epochs: int, max_epochs: int, seed: int
) -> Finding:
    """Compare ReLU with tanh on CIFAR-10: epochs to 25 % training error.

    --data is cifar-10-binary.tar.gz or cifar-10-python.tar.gz as downloaded, or has train/ and test/ with class
    folders. A search finds the learning rate of each activation: the one with the lowest training error in the last
    epoch of the search. While the best rate is the lowest or the highest one tried, one more rate beyond it is tried.
    The best run then continues until the training error of an epoch is 25 %.
    """
    if search_epochs > max_epochs:
        raise FreelightError(f"`search_epochs` (={search_epochs}) must not exceed `max_epochs` (={max_epochs})")
    session.plan(["make_shards", "compute_pca"] if not (data / "dataset.json").is_file() else [])
    session.plan([f"search-{function}-{rate:g}" for function in PAPER_EPOCHS for rate in rates])
    session.plan([f"final-{function}" for function in PAPER_EPOCHS])
    dataset = dataset_of(session, data, size=32)
    searched: dict[str, dict[float, float]] = {}
    finals: dict[str, Final] = {}
    for function in PAPER_EPOCHS:
        searched[function] = search(session, dataset, function, rates, (search_epochs, max_epochs), seed)
    for function, errors in searched.items():
        run = run_of(session, dataset, function, best(errors), max_epochs, seed)
        finals[function] = finish(session, run, max_epochs)
    return finding(dataset, searched, finals, (search_epochs, max_epochs), seed)


def run_of(session: Session, dataset: Dataset, function: str, rate: float, max_epochs: int, seed: int) -> Run:
    """Return the run of an activation at a rate: the 19pct network on whole images, without regularisation."""
    settings = (
        *("crop_size=32", "crops=center", "flip_probability=0", "weight_decay=0", "layer_decays="),
        *("drop_epochs=", "bias_drop_epochs=", f"activation={function}"),
        *(f"learning_rate={rate:g}", f"bias_learning_rate={2 * rate:g}"),
    )
    options = ["--recipe", "cifar-19pct", "--epochs", str(max_epochs), "--no-compile"]
    name = f"{function}-{rate:g}"
    return Run(
        name=name,
        dataset=Path(dataset.folder),
        folder=session.out / "runs" / name,
        options=(*options, *(word for setting in settings for word in ("--set", setting))),
        seed=seed,
    )


def search(
    session: Session,
    dataset: Dataset,
    function: str,
    rates: tuple[float, ...],
    epochs: tuple[int, int],
    seed: int,
) -> dict[float, float]:
    """Return each rate's training error, 0..1, in the last epoch of the search; 1 if the loss was not finite."""
    errors: dict[float, float] = {}
    next_rates = list(rates)
    while next_rates:
        for rate in next_rates:
            run = run_of(session, dataset, function, rate, epochs[1], seed)
            done = epochs_of(run.part(session, epochs[0], name=f"search-{run.name}"))
            if done is not None and len(done) < epochs[0]:
                raise FreelightError(
                    f"`search_epochs` (={epochs[0]}): in {session.out} the search of {run.name} had {len(done)}; give "
                    f"{len(done)}, or another `out`"
                )
            errors[rate] = 1.0 if done is None else done[epochs[0] - 1].train_top1
        next_rates = beyond(errors)
    return errors


def best(errors: dict[float, float]) -> float:
    """Return the rate with the lowest error. Ties go to the lowest rate."""
    return min(sorted(errors), key=lambda rate: errors[rate])


def beyond(errors: dict[float, float]) -> list[float]:
    """Return the next rate to try; empty if the best is inside the range or a tie, or enough were tried."""
    chosen, tried = best(errors), sorted(errors)
    alone = sum(error == errors[chosen] for error in errors.values()) == 1
    if len(tried) >= MOST_RATES or chosen not in (tried[0], tried[-1]) or not alone:
        return []
    return [float(f"{chosen / FACTOR if chosen == tried[0] else chosen * FACTOR:.1g}")]


@dataclass(frozen=True, kw_only=True)
class Final:
    """The final run of an activation. epochs: the finished ones."""

    run: Run
    epochs: list[Epoch]
    diverged: bool

    @property
    def errors(self) -> list[float]:
        """The training error of each epoch, 0..1."""
        return [epoch.train_top1 for epoch in self.epochs]

    @property
    def reached(self) -> float | None:
        """Epochs until the target was reached; None if it was not."""
        return crossing(self.errors)

    def row(self, name: str) -> Row:
        """Return the row of the activation. The difference is to the nearer end of the paper's range."""
        paper, least, most = PAPER_EPOCHS[name]
        if self.reached is not None:
            ours = f"{self.reached:.1f}"
            difference = f"{self.reached - min(max(self.reached, least), most):+.1f}"
        else:
            ours = "diverged" if self.diverged else "not reached"
            difference = f"{self.errors[-1]:.1%} after {len(self.epochs)}" if self.epochs else ""
        return Row(what=f"{name}, epochs to 25 % training error", paper=paper, ours=ours, difference=difference)


def finish(session: Session, run: Run, max_epochs: int) -> Final:
    """Continue a run until the target."""
    record = run.part(
        session,
        max_epochs,
        name=f"final-{run.name.partition('-')[0]}",
        enough=lambda done: done[-1].train_top1 <= TARGET,
    )
    return Final(run=run, epochs=[Epoch(**epoch) for epoch in record["epochs"]], diverged=record["diverged"])


def crossing(errors: list[float]) -> float | None:
    """Return the epochs until the target was reached, interpolated linearly between epochs; None if it was not.

    errors: training error of each epoch, 0..1, taken as the error at its end.
    """
    for number, (before, after) in enumerate(itertools.pairwise([1.0, *errors])):
        if after <= TARGET:
            return number + (before - TARGET) / (before - after)
    return None


def finding(
    dataset: Dataset,
    searched: dict[str, dict[float, float]],
    finals: dict[str, Final],
    epochs: tuple[int, int],
    seed: int,
) -> Finding:
    """Compare the two final runs."""
    reached = {name: final.reached for name, final in finals.items()}
    relu, tanh = reached["relu"], reached["tanh"]
    ratio = tanh / relu if relu and tanh else None
    # If tanh did not reach the target, only a lower bound of the ratio is known; if it diverged, nothing is.
    slow = finals["tanh"]
    least = len(slow.epochs) / relu if relu and tanh is None and not slow.diverged else None
    rows = [final.row(name) for name, final in finals.items()]
    said = f"{ratio:.2f}" if ratio else f"more than {least:.2f}" if least else "unknown"
    difference = f"{ratio - PAPER_RATIO:+.2f}" if ratio else ""
    rows.append(Row(what="tanh / ReLU", paper=f"{PAPER_RATIO:g}", ours=said, difference=difference))
    tried = {
        name: ", ".join(f"{rate:g}: {errors[rate]:.1%}" for rate in sorted(errors)) for name, errors in searched.items()
    }
    conditions = (
        describe(dataset),
        "net: 19pct of the 2012 code (four weight layers), whole images less their mean, no crops, flips or decay; "
        f"batch 128, momentum 0.9, biases at twice the rate, seed {seed}",
        "training error: mean over an epoch, as the weights were when each image was seen",
        *(f"rates of {name}, training error in epoch {epochs[0]}: {text}" for name, text in tried.items()),
        f"final runs at {', '.join(f'{best(errors):g} ({name})' for name, errors in searched.items())}, at most "
        f"{epochs[1]} epochs",
        "seconds per epoch: " + ", ".join(f"{_seconds(final.epochs):.0f} ({name})" for name, final in finals.items()),
    )
    return Finding(
        claim="figure1",
        rows=tuple(rows),
        conditions=conditions,
        figures={
            "epochs_to_target": reached,
            "ratio": ratio,
            "ratio_at_least": least,
            "search": {name: {f"{r:g}": e for r, e in errors.items()} for name, errors in searched.items()},
            "train_top1": {name: final.errors for name, final in finals.items()},
            "diverged": {name: final.diverged for name, final in finals.items()},
        },
        picture=picture(finals),
    )


def _seconds(epochs: list[Epoch]) -> float:
    return sum(epoch.seconds for epoch in epochs) / len(epochs) if epochs else math.nan


def picture(finals: dict[str, Final]) -> Image.Image:
    """Draw Figure 1: the training error over the epochs."""
    series = [
        Series(
            name=final.run.name.replace("-", ", learning rate ", 1),
            points=[(number, 100 * error) for number, error in enumerate(final.errors, 1)],
        )
        for final in finals.values()
    ]
    last = max(len(final.epochs) for final in finals.values())
    series.append(Series(name="25 %", points=[(0, 100 * TARGET), (last, 100 * TARGET)]))
    drawn = line_chart("Figure 1: training error of a four-layer CNN, %", series, WIDE)
    return framed(drawn, WIDE.margin)
