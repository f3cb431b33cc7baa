"""Measure the errors of trained networks on a split.

Several --checkpoint or --from also give the errors of their average. For a split without labels, write the challenge's
file with --submission. --predictions saves the probabilities, so that a later average needs no second pass.
"""

from pathlib import Path
from typing import Any

import click

from freelight.shards import FreelightError
from freelight.shards.base import (
    Command,
    CountOrAuto,
    OutputFile,
    counted,
    reports_errors,
    say,
    say_result,
    watch_counts,
    with_cache,
    with_output,
)
from freelight.train.evaluation import (
    EvaluationConfig,
    Processes,
    average_networks,
    check_weights,
    class_numbers,
    load_predictions,
    predict_networks,
    rank_networks,
    rank_predictions,
    summarize,
    with_processes,
    write_submission,
)

FILE = click.Path(path_type=Path)


@click.command(
    name="evaluate",
    help=__doc__,
    cls=Command,
    groups={
        "Networks": "checkpoint from weights search-weights",
        "Data": "shards split cache cache-bytes fetch-timeout storage-options devkit",
        "Result": "views per-class predictions submission quiet json",
        "Computing": "batch-size columns replicas backend threads compile",
    },
    examples=(
        "freelight evaluate --checkpoint run/best.pt --shards dataset --per-class",
        "freelight evaluate --checkpoint one/best.pt --checkpoint two/best.pt --shards dataset --views 1 --json",
    ),
)
@click.option(
    "--checkpoint",
    "checkpoints",
    type=FILE,
    multiple=True,
    help="Checkpoint of a network, such as RUN/best.pt; repeat it for several.",
)
@click.option(
    "--from", "earlier", type=FILE, multiple=True, help="File that --predictions wrote earlier; repeat it for several."
)
@click.option("--shards", required=True, help="Dataset directory, or its URL with --cache.")
@with_cache
@click.option("--split", default="val", show_default=True, help="Split to evaluate.")
@click.option(
    "--views",
    type=click.Choice(["1", "10"]),
    default="10",
    show_default=True,
    help="1: the centre crop. 10: four corners and centre, also mirrored.",
)
@click.option("--weights", help="Weights of the average, one per network: 0.5,0.3,0.2. [default: equal]")
@click.option(
    "--search-weights",
    is_flag=True,
    help="Search the weights on the same labels that they are measured on: optimistic.",
)
@click.option("--per-class", is_flag=True, help="Also print the error of each class and the most frequent confusions.")
@click.option("--predictions", type=OutputFile(".npz"), help="The .npz file for all networks' probabilities.")
@click.option("--submission", type=OutputFile(), help="File for the challenge: five labels per line.")
@click.option("--devkit", type=FILE, help="The challenge's devkit archive, which numbers the classes for --submission.")
@click.option("--batch-size", default=64, show_default=True, help="Images that a network sees at a time.")
@with_processes
@with_output
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
    columns: int,
    replicas: int | None,
    backend: str | None,
    num_threads: CountOrAuto,
    compile_: bool | None,
    **settings: Any,
) -> None:
    processes = Processes(
        columns=columns, replicas=replicas, backend=backend, num_threads=num_threads, compile_=compile_
    )
    watch = watch_counts(f"images of {settings['split']}")
    config = EvaluationConfig(checkpoints=checkpoints, views=int(views), processes=processes, watch=watch, **settings)
    dataset = config.dataset()
    split = dataset.split(config.split)
    if not split.info.labelled and (submission is None or search_weights or per_class):
        raise FreelightError(
            f"{config.split} has no labels to measure errors by; write the challenge's file with --submission"
        )
    numbers = class_numbers(dataset, split, devkit) if submission or devkit else None
    loaded = load_predictions(config, dataset, earlier)
    networks = sum(len(file.names) for file in loaded) + len(checkpoints)
    chosen = check_weights(weights, search=search_weights, networks=networks)
    if networks == 1 and not (loaded or predictions or submission):
        ranked = rank_networks(config)
        if ranked is None:  # another process reports
            return
        names, passes, ensemble = [str(path) for path in checkpoints], ranked, None
    else:
        joined = predict_networks(config, dataset, loaded, save_to=predictions)
        if joined is None:
            return
        names, passes = joined.names.tolist(), rank_predictions(joined)
        ensemble = average_networks(joined, chosen, search=search_weights)
    summary = summarize(config, dataset, names, passes, ensemble, per_class=per_class)
    say_result(summary.lines(), summary.asdict())
    if submission and numbers is not None and ensemble is not None:
        write_submission(submission, ensemble.probabilities, split, numbers)
        say(f"{submission}: {counted(len(split), 'line')} of five class numbers of the development kit")
