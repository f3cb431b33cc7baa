"""Errors of trained networks, and of their average, on a split of a dataset; a challenge's file where it has no labels.

Several --checkpoint or --from are averaged. --predictions keeps probabilities for later averages without another pass.
"""

from pathlib import Path
from typing import Any

import click

from freelight.shards import FreelightError
from freelight.shards.base.console import OutputFile, reports_errors, with_cache
from freelight.train.evaluation.predictions import PassConfig, collect_predictions, earlier_predictions, judge_networks
from freelight.train.evaluation.submission import class_numbers, write_submission
from freelight.train.evaluation.summary import describe_errors, given_weights, mix

FILE = click.Path(path_type=Path)


@click.command(name="evaluate", help=__doc__)
@click.option("--checkpoint", "checkpoints", type=FILE, multiple=True, help="RUN/best.pt; may be repeated.")
@click.option("--from", "earlier", type=FILE, multiple=True, help="Predictions of an earlier pass; may be repeated.")
@click.option("--shards", required=True, help="Dataset directory; or its URL, with --cache.")
@with_cache
@click.option("--split", default="val", show_default=True)
@click.option("--views", type=click.Choice(["1", "10"]), default="10", show_default=True, help="Centre view, or ten.")
@click.option("--weights", help="Of an average, one a network: 0.5,0.3,0.2.  [default: equal]")
@click.option("--search-weights", is_flag=True, help="Search them on the labels that are then measured: optimistic.")
@click.option("--per-class", is_flag=True, help="A table of the classes, and the worst confusions.")
@click.option("--predictions", type=OutputFile(".npz"), help="Keep each network's probabilities.")
@click.option("--submission", type=OutputFile(), help="Write the challenge's file, five labels a line.")
@click.option("--devkit", type=FILE, help="The challenge's archive, which numbers the classes of the file.")
@click.option("--batch-size", default=64, show_default=True, help="Images at a time.")
@click.option("--columns", type=click.IntRange(1, 2), default=1, show_default=True, help="Processes (GPUs) a network.")
@click.option("--backend", type=click.Choice(["nccl", "gloo"]), help="[default: nccl on GPUs, gloo on the CPU]")
@reports_errors
def command(
    checkpoints: tuple[Path, ...],
    earlier: tuple[Path, ...],
    views: str,
    weights: str | None,
    search_weights: bool,
    per_class: bool,
    predictions: Path | None,
    submission: Path | None,
    devkit: Path | None,
    **looking: Any,
) -> None:
    config = PassConfig(checkpoints=checkpoints, views=int(views), **looking)
    dataset = config.dataset()
    samples = dataset.split(config.split)
    if not samples.info.labelled and (submission is None or search_weights or per_class):
        raise FreelightError(
            f"{config.split} has no labels to count errors by; write the challenge's file with --submission"
        )
    numbers = class_numbers(dataset, samples, devkit) if submission or devkit else None
    known = earlier_predictions(config, dataset, earlier)
    networks = sum(len(one.names) for one in known) + len(checkpoints)
    given = given_weights(weights, search=search_weights, networks=networks)
    if networks == 1 and not (known or predictions or submission):
        names, passes, mixed = [str(path) for path in checkpoints], judge_networks(config), None
    else:
        found = collect_predictions(config, dataset, known, keep=predictions)
        names, passes, mixed = found.names.tolist(), found.judged(), mix(found, given, search=search_weights)
    for line in describe_errors(config, dataset, names, passes, mixed, per_class=per_class):
        click.echo(line)
    if submission and numbers is not None and mixed is not None:
        write_submission(submission, mixed.probabilities, samples, numbers)
        click.echo(f"{submission}: {len(samples)} lines of five labels, as the devkit numbers them")
