"""The command `train`."""

import functools
import sys
from pathlib import Path

import click

from ..shards import Dataset
from ..shards.base.console import reports_errors, with_cache
from .describe import describe
from .parallel.launch import launch
from .recipes import RECIPES, recipe_table
from .trainer import TrainingConfig, train


@click.command()
@click.option("--shards", help="Dataset directory, with statistics; or its URL, with --cache.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run; a begun one is resumed.")
@with_cache
@click.option("--statistics", type=click.Path(path_type=Path), help="Another .npz of compute_pca.  [default: SHARDS']")
@click.option("--init-from", type=click.Path(path_type=Path), help="Checkpoint to begin a new run with, where it fits.")
@click.option("--recipe", type=click.Choice(list(RECIPES)), default="paper", show_default=True)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one setting of the recipe.")
@click.option("--epochs", type=int, help="At most so many epochs.  [default: the recipe's]")
@click.option("--width", type=float, help="Multiplies every layer but the last.  [default: the recipe's]")
@click.option("--columns", type=click.IntRange(1, 2), default=1, show_default=True, help="Processes (GPUs) a network.")
@click.option(
    "--replicas", type=click.IntRange(1), help="Networks that share a batch.  [default: 1; what torchrun starts]"
)
@click.option("--checkpoint-every", type=int, metavar="STEPS", help="Save inside epochs too.")
@click.option("--checkpoint-minutes", type=float, metavar="MINUTES", help="Save inside epochs too.")
@click.option("--keep", default=2, show_default=True, help="Most recent checkpoints to keep, beside the best.")
@click.option("--log-every", default=10, show_default=True, metavar="STEPS", help="Steps a line of metrics.")
@click.option("--tensorboard", is_flag=True, help="Write OUT/tensorboard too.")
@click.option("--seed", default=0, show_default=True, help="Of weights, order, draws and dropout.")
@click.option("--threads", default=2, show_default=True, help="Threads a process that decode.")
@click.option("--backend", type=click.Choice(["nccl", "gloo"]), help="[default: nccl on GPUs, gloo on the CPU]")
@click.option(
    "--compile/--no-compile", "compile_", default=True, show_default=True, help="Compile the normalisation (8 s)."
)
@click.option("--channels-last", is_flag=True, help="Memory order of the activations; measure whether it helps.")
@click.option("--show-recipe", type=click.Choice(list(RECIPES)), help="Print what a recipe holds, and end.")
@click.option("--describe", "describes", is_flag=True, help="Print the network as the paper's Figure 2, and end.")
@reports_errors
def main(
    shards: str | None,
    out: Path | None,
    cache: Path | None,
    cache_bytes: int,
    statistics: Path | None,
    init_from: Path | None,
    recipe: str,
    settings: tuple[str, ...],
    epochs: int | None,
    width: float | None,
    columns: int,
    replicas: int | None,
    checkpoint_every: int | None,
    checkpoint_minutes: float | None,
    keep: int,
    log_every: int,
    tensorboard: bool,
    seed: int,
    threads: int,
    backend: str | None,
    compile_: bool,
    channels_last: bool,
    show_recipe: str | None,
    describes: bool,
) -> None:
    """Train AlexNet on a dataset of shards, as the paper did. The same command again takes a stopped run up.

    --replicas train one batch together: it stays as large as the recipe says, whatever their number.
    """
    short = {"epochs": epochs, "width": width}
    overrides = [*settings, *(f"{key}={value}" for key, value in short.items() if value is not None)]
    chosen = RECIPES[show_recipe or recipe].override(overrides)
    if show_recipe:
        click.echo(recipe_table(chosen))
        return
    if describes:
        click.echo(describe(chosen, 1000 if shards is None else len(Dataset(shards, cache=cache).manifest.classes)))
        return
    if shards is None or out is None:
        raise click.UsageError(f"Missing option '--{'out' if shards else 'shards'}'.")
    config = TrainingConfig(
        shards=shards,
        out=out,
        recipe=chosen,
        cache=cache,
        cache_bytes=cache_bytes,
        statistics=statistics,
        init_from=init_from,
        seed=seed,
        checkpoint_every=checkpoint_every,
        checkpoint_minutes=checkpoint_minutes,
        keep=keep,
        log_every=log_every,
        num_threads=threads,
        compile_=compile_,
        channels_last=channels_last,
        tensorboard=tensorboard,
    )
    out.mkdir(parents=True, exist_ok=True)
    stopped = launch(functools.partial(train, config), columns=columns, replicas=replicas, backend=backend)
    if stopped:
        sys.exit(128 + stopped)
