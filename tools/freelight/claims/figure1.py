"""Figure 1: a four-layer CNN reaches 25 % training error on CIFAR-10 several times faster with ReLU than with tanh."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import click
from PIL import Image

from freelight.claims.command import claim
from freelight.claims.data import dataset_of, describe
from freelight.claims.finding import Finding, Row
from freelight.claims.pairs import Spread
from freelight.claims.session import Session
from freelight.claims.training import Epoch, Run, epochs_of, seconds_per_epoch
from freelight.pipeline.pictures import framed
from freelight.shards import Dataset, FreelightError
from freelight.train.inspection import WIDE, Series, line_chart

TARGET = 0.25
PAPER_RATIO, PAPER_EPOCHS = 6.0, {"relu": ("5-6", 5, 6), "tanh": ("about 36", 36, 36)}
"""Epochs to 25 % by activation: as text, minimum, maximum."""
FACTOR = 3.0
"""Ratio between a rate that the search adds and its neighbour."""
MOST_RATES = 7
PATIENCE = 12
"""tanh is given up at this multiple of ReLU's epochs: twice the paper's ratio."""


def floats(context: click.Context, option: click.Parameter, text: str) -> tuple[float, ...]:
    """Parse numbers separated by commas, and sort them."""
    try:
        rates = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise click.BadParameter(f"{text!r}: give numbers separated by commas") from None
    if len(rates) < 3 or rates[0] <= 0:
        raise click.BadParameter(f"{text!r}: give at least 3 positive rates")
    return rates


@claim(
    "figure1",
    examples=(
        "freelight reproduce figure1 --data cifar-10-binary.tar.gz --out figure1",
        "freelight reproduce figure1 --data cifar-10-binary.tar.gz --out figure1 --seeds 5 --budget 480",
    ),
)
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
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Final runs per activation: seeds 0, 1, ... The search uses seed 0.",
)
def command(
    session: Session, data: Path, rates: tuple[float, ...], search_epochs: int, max_epochs: int, seeds: int
) -> Finding:
    """Compare ReLU with tanh on CIFAR-10: epochs to 25 % training error.

    --data is cifar-10-binary.tar.gz or cifar-10-python.tar.gz as downloaded, or has train/ and test/ with class
    folders. A search finds the learning rate of each activation: the one with the lowest training error in the last
    epoch of the search. While the best rate is the lowest or the highest one tried, one more rate beyond it is tried.
    Runs at the best rate then continue until the training error of an epoch is 25 %. tanh is given up at 12 times
    ReLU's epochs with the same seed.
    """
    if search_epochs > max_epochs:
        raise FreelightError(f"`search_epochs` (={search_epochs}) must not exceed `max_epochs` (={max_epochs})")
    session.plan(["make_shards", "compute_pca"] if not (data / "dataset.json").is_file() else [])
    session.plan([f"search-{function}-{rate:g}" for function in PAPER_EPOCHS for rate in rates])
    session.plan([final_name(function, seed) for function in PAPER_EPOCHS for seed in range(seeds)])
    dataset = dataset_of(session, data, size=32)
    searched: dict[str, dict[float, float]] = {}
    finals: dict[str, list[Final]] = {function: [] for function in PAPER_EPOCHS}
    for function in PAPER_EPOCHS:
        searched[function] = search(session, dataset, function, rates, (search_epochs, max_epochs))
    for seed in range(seeds):
        most = max_epochs
        for function, errors in searched.items():
            run = run_of(session, dataset, function, best(errors), max_epochs, seed)
            final = finish(session, run, function, most)
            finals[function].append(final)
            if function == "relu" and final.reached is not None:
                most = max(min(most, math.ceil(PATIENCE * final.reached)), search_epochs)
    return finding(dataset, searched, finals, (search_epochs, max_epochs))


def final_name(function: str, seed: int) -> str:
    """Return the name of the part that trains an activation to the target."""
    return f"final-{function}" + (f"-seed{seed}" if seed else "")


def run_of(session: Session, dataset: Dataset, function: str, rate: float, max_epochs: int, seed: int) -> Run:
    """Return the run of an activation at a rate: the 19pct network on whole images, without regularisation."""
    settings = (
        *("crop_size=32", "crops=center", "flip_probability=0", "weight_decay=0", "layer_decays="),
        *("drop_epochs=", "bias_drop_epochs=", f"activation={function}"),
        *(f"learning_rate={rate:g}", f"bias_learning_rate={2 * rate:g}"),
    )
    options = ["--recipe", "cifar-19pct", "--epochs", str(max_epochs), "--no-compile"]
    name = f"{function}-{rate:g}" + (f"-seed{seed}" if seed else "")
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
) -> dict[float, float]:
    """Return each rate's training error, 0..1, in the last epoch of the search; 1 if the loss was not finite."""
    errors: dict[float, float] = {}
    next_rates = list(rates)
    while next_rates:
        for rate in next_rates:
            run = run_of(session, dataset, function, rate, epochs[1], 0)
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
    """A final run of an activation. epochs: the finished ones. record: of its part."""

    run: Run
    epochs: list[Epoch]
    diverged: bool
    record: dict[str, Any]

    @property
    def errors(self) -> list[float]:
        """The training error of each epoch, 0..1."""
        return [epoch.train_top1 for epoch in self.epochs]

    @property
    def reached(self) -> float | None:
        """Epochs until the target was reached; None if it was not."""
        return crossing(self.errors)

    @property
    def outcome(self) -> str:
        """The epochs until the target as text, or what happened instead."""
        if self.reached is not None:
            return f"{self.reached:.1f}"
        if self.diverged:
            return f"diverged after {len(self.epochs)}"
        return f"not reached, {self.errors[-1]:.1%} after {len(self.epochs)}" if self.epochs else "not reached"


def finish(session: Session, run: Run, function: str, max_epochs: int) -> Final:
    """Continue a run until the target, or until it has `max_epochs`."""
    record = run.part(
        session,
        max_epochs,
        name=final_name(function, run.seed),
        enough=lambda done: done[-1].train_top1 <= TARGET,
    )
    return Final(
        run=run, epochs=[Epoch(**epoch) for epoch in record["epochs"]], diverged=record["diverged"], record=record
    )


def crossing(errors: list[float]) -> float | None:
    """Return the epochs until the target was reached, interpolated linearly between epochs; None if it was not.

    errors: training error of each epoch, 0..1, taken as the error at its end.
    """
    for number, (before, after) in enumerate(itertools.pairwise([1.0, *errors])):
        if after <= TARGET:
            return number + (before - TARGET) / (before - after)
    return None


def ratio_of(relu: Final, tanh: Final) -> tuple[float | None, bool]:
    """Return tanh's epochs over ReLU's of one seed, and whether that is only a lower bound; None if neither is known.

    If tanh did not reach the target, only a bound is known; if it diverged, nothing is.
    """
    if relu.reached is None or tanh.diverged:
        return None, False
    return (tanh.reached or len(tanh.epochs)) / relu.reached, tanh.reached is None


def row_of(name: str, finals: list[Final]) -> Row:
    """Return the row of an activation. The difference of the mean is to the nearer end of the paper's range."""
    paper, least, most = PAPER_EPOCHS[name]
    reached = [final.reached for final in finals if final.reached is not None]
    difference = ""
    if len(reached) == len(finals):
        difference = f"{mean(reached) - min(max(mean(reached), least), most):+.1f}"
    ours = ", ".join(final.outcome for final in finals)
    return Row(what=f"{name}, epochs to 25 % training error", paper=paper, ours=ours, difference=difference)


def finding(
    dataset: Dataset, searched: dict[str, dict[float, float]], finals: dict[str, list[Final]], epochs: tuple[int, int]
) -> Finding:
    """Compare the final runs, seed by seed."""
    ratios = [ratio_of(relu, tanh) for relu, tanh in zip(finals["relu"], finals["tanh"], strict=True)]
    known = [ratio for ratio, bound in ratios if ratio is not None and not bound]
    said = ["unknown" if ratio is None else f"{'more than ' * bound}{ratio:.2f}" for ratio, bound in ratios]
    difference = f"{mean(known) - PAPER_RATIO:+.2f}" if len(known) == len(ratios) else ""
    rows = [row_of(name, runs) for name, runs in finals.items()]
    rows.append(Row(what="tanh / ReLU", paper=f"{PAPER_RATIO:g}", ours=", ".join(said), difference=difference))
    tried = {
        name: ", ".join(f"{rate:g}: {errors[rate]:.1%}" for rate in sorted(errors)) for name, errors in searched.items()
    }
    conditions = (
        describe(dataset),
        "net: 19pct of the 2012 code (four weight layers), whole images less their mean, no crops, flips or decay; "
        f"batch 128, momentum 0.9, biases at twice the rate, seeds 0..{len(ratios) - 1}",
        "training error: mean over an epoch, as the weights were when each image was seen",
        *(f"rates of {name}, training error in epoch {epochs[0]}: {text}" for name, text in tried.items()),
        f"final runs at {', '.join(f'{best(errors):g} ({name})' for name, errors in searched.items())}, at most "
        f"{epochs[1]} epochs, and tanh at most {PATIENCE} times ReLU's",
        seconds_per_epoch({final.run.name: final.record for runs in finals.values() for final in runs}),
    )
    return Finding(
        claim="figure1",
        rows=tuple(rows),
        conditions=conditions,
        figures={
            "epochs_to_target": {name: [final.reached for final in runs] for name, runs in finals.items()},
            "ratio": [None if bound else ratio for ratio, bound in ratios],
            "ratio_at_least": [ratio if bound else None for ratio, bound in ratios],
            "search": {name: {f"{r:g}": e for r, e in errors.items()} for name, errors in searched.items()},
            "train_top1": {name: [final.errors for final in runs] for name, runs in finals.items()},
            "diverged": {name: [final.diverged for final in runs] for name, runs in finals.items()},
        },
        picture=picture(finals),
        verdict=verdict(known) if len(known) == len(ratios) else "",
    )


def verdict(ratios: list[float]) -> str:
    """State the mean factor, its interval, and which factor could have been seen: over seeds, in logarithms."""
    spread = Spread([math.log(ratio) for ratio in ratios])
    middle = mean(spread.values)
    factor = f"tanh / ReLU: {math.exp(middle):.2f}"
    if spread.margin is None or spread.detectable is None:
        return f"{factor}; the size of the noise is unknown"
    least, most = (math.exp(middle + sign * spread.margin) for sign in (-1, 1))
    return (
        f"{factor} (geometric mean) over {len(ratios)} seeds, 95 % interval {least:.2f}..{most:.2f} over seeds alone; "
        f"{math.exp(spread.detectable):.2f} or more would be found with 80 % power, the paper's {PAPER_RATIO:g} with "
        f"{spread.needed(math.log(PAPER_RATIO))}"
    )


def picture(finals: dict[str, list[Final]]) -> Image.Image:
    """Draw Figure 1: the training error over the epochs, the mean of the seeds that came so far."""
    series = []
    for name, runs in finals.items():
        lines = itertools.zip_longest(*(final.errors for final in runs))
        means = [100 * mean(error for error in errors if error is not None) for errors in lines]
        seeds = f", mean of {len(runs)} seeds" if len(runs) > 1 else ""
        series.append(Series(name=f"{name}{seeds}", points=list(enumerate(means, 1))))
    last = max(len(line.points) for line in series)
    series.append(Series(name="25 %", points=[(0, 100 * TARGET), (last, 100 * TARGET)]))
    drawn = line_chart("Figure 1: training error of a four-layer CNN, %", series, WIDE)
    return framed(drawn, WIDE.margin)
