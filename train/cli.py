"""The command `train`."""

import functools
from pathlib import Path

import click

from ..shards.console import reports_errors
from .launch import launch
from .recipe import RECIPES
from .trainer import TrainingConfig, train


@click.command()
@click.option("--shards", type=click.Path(path_type=Path), required=True, help="Dataset directory, with statistics.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the run; a begun one is resumed."
)
@click.option("--statistics", type=click.Path(path_type=Path), help="Another .npz of compute_pca.  [default: SHARDS']")
@click.option("--recipe", type=click.Choice(list(RECIPES)), default="paper", show_default=True)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one setting of the recipe.")
@click.option("--epochs", type=int, help="At most so many epochs.  [default: the recipe's]")
@click.option("--columns", type=click.IntRange(1, 2), default=1, show_default=True, help="Processes (GPUs).")
@click.option("--width", default=1.0, show_default=True, help="Multiplies every layer but the last.")
@click.option("--checkpoint-every", type=int, metavar="STEPS", help="Save inside epochs too.")
@click.option("--log-every", default=10, show_default=True, metavar="STEPS", help="Steps a line of metrics.")
@click.option("--seed", default=0, show_default=True, help="Of weights, order, draws and dropout.")
@click.option("--threads", default=2, show_default=True, help="Threads a process that decode.")
@click.option("--backend", type=click.Choice(["nccl", "gloo"]), help="[default: nccl on GPUs, gloo on the CPU]")
@reports_errors
def main(
    shards: Path,
    out: Path,
    statistics: Path | None,
    recipe: str,
    settings: tuple[str, ...],
    epochs: int | None,
    columns: int,
    width: float,
    checkpoint_every: int | None,
    log_every: int,
    seed: int,
    threads: int,
    backend: str | None,
) -> None:
    """Train AlexNet on a dataset of shards, as the paper did. The same command again takes a stopped run up."""
    overrides = [*settings, *([] if epochs is None else [f"epochs={epochs}"])]
    config = TrainingConfig(
        shards=shards,
        out=out,
        statistics=statistics,
        recipe=RECIPES[recipe].override(overrides),
        width=width,
        seed=seed,
        checkpoint_every=checkpoint_every,
        log_every=log_every,
        num_threads=threads,
    )
    out.mkdir(parents=True, exist_ok=True)
    launch(functools.partial(train, config), columns=columns, backend=backend)
