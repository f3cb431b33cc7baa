"""The command `train`."""

import sys
from pathlib import Path
from typing import Any, get_args

import click

from ..pipeline import Decode, Decoding, Order
from ..shards import open_dataset
from ..shards.base import (
    ByteCount,
    Command,
    CountOrAuto,
    OutputFile,
    is_json,
    is_quiet,
    reports_errors,
    say,
    say_result,
    typed_command,
    with_cache,
    with_output,
    with_threads,
)
from .config import TrainingConfig
from .describe import describe
from .fit import fit
from .recipes import RECIPES, find_recipe, name_with_changes, recipe_table, write_recipe
from .sampling import read_class_weights, read_subset


@click.command(
    name="train",
    cls=Command,
    groups={
        "Data": "shards statistics cache cache-bytes fetch-timeout storage-options decoded decoded-bytes",
        "Sampling": "subset balanced class-weights",
        "Recipe": "recipe set epochs batch-size width order window show-recipe save-recipe describe",
        "Run": "out init-from seed checkpoint-every checkpoint-minutes keep log-every tensorboard quiet json",
        "Computing": "columns replicas backend threads decode hw-decoder-load compile channels-last",
    },
    examples=(
        "train --shards dataset --out run --columns 2",
        "train --shards dataset --out run --recipe source --epochs 12 --set learning_rate=0.005",
    ),
)
@click.option("--shards", help="Dataset directory with statistics, or its URL with --cache.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the run; one that holds a stopped run is resumed."
)
@with_cache
@click.option(
    "--statistics",
    type=click.Path(path_type=Path),
    help="Statistics that compute_pca wrote. [default: SHARDS/statistics.npz]",
)
@click.option(
    "--decoded",
    type=click.Path(path_type=Path),
    help="Folder that keeps decoded pixels, so that later epochs decode nothing: 197 kB for an image of 256 x 256, 252 "
    "GB for ImageNet. `freelight decode` fills it ahead, and its --dry-run says what it takes.",
)
@click.option(
    "--decoded-bytes",
    type=ByteCount(),
    help="Maximum size of the decoded pixels, such as 200GB; images beyond it are decoded in every epoch. [default: no "
    "limit]",
)
@click.option(
    "--subset",
    "subset",
    multiple=True,
    metavar="KEY=VALUE",
    help="Train on some images: fraction=0.1 draws a tenth of each class, by seed=0; classes=ID,ID; file=FILE lists "
    "keys or indices, one a line. Repeat it to combine them. The network keeps all classes.",
)
@click.option("--balanced", is_flag=True, help="Train on all classes equally often.")
@click.option(
    "--class-weights",
    "weights",
    type=click.Path(path_type=Path),
    help="JSON file of a weight by class id or name, in proportion to which a class's images are drawn.",
)
@click.option(
    "--init-from",
    type=click.Path(path_type=Path),
    help="Checkpoint to copy a new run's layers from, where shapes fit.",
)
@click.option(
    "--recipe",
    default="paper",
    show_default=True,
    metavar="NAME",
    help=f"Named set of all settings ({', '.join(RECIPES)}), or your own FILE.toml.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one setting of the recipe; repeat it for several. --show-recipe prints all.",
)
@click.option("--epochs", type=int, help="Maximum number of epochs. [default: the recipe's]")
@click.option("--batch-size", type=int, help="Images per step, over all replicas. [default: the recipe's]")
@click.option("--width", type=float, help="Factor for the width of all layers except the last. [default: the recipe's]")
@click.option(
    "--order",
    type=click.Choice(get_args(Order)),
    help="Of samples: a new permutation each epoch, as written, or drawn from a window of shards, for which a small "
    "--cache is enough. [default: the recipe's]",
)
@click.option(
    "--window",
    metavar="SHARDS",
    help="With --order windowed, the shards in the window: 10%, or a number. [default: the recipe's]",
)
@click.option(
    "--columns",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    help="Processes (GPUs) per network; with 2, each holds one of its columns.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1),
    help="Copies of the network that share each batch. [default: 1; under torchrun, as many as it started]",
)
@click.option(
    "--checkpoint-every", type=int, metavar="STEPS", help="Steps between checkpoints inside an epoch. [default: none]"
)
@click.option(
    "--checkpoint-minutes",
    type=float,
    metavar="MINUTES",
    help="Minutes between checkpoints inside an epoch. [default: none]",
)
@click.option("--keep", default=2, show_default=True, help="Number of recent checkpoints to keep, besides best.pt.")
@click.option("--log-every", default=10, show_default=True, metavar="STEPS", help="Steps between two lines of metrics.")
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard events to OUT/tensorboard.")
@click.option(
    "--seed", default=0, show_default=True, help="Seed of initial weights, sample order, augmentation and dropout."
)
@with_threads
@click.option(
    "--decode",
    type=click.Choice(get_args(Decode)),
    default="window",
    show_default=True,
    help="Decode the part of a picture that a crop uses, or the whole; measure which is faster on your GPU.",
)
@click.option(
    "--hw-decoder-load",
    type=float,
    metavar="SHARE",
    help="Share of a batch that the GPU's JPEG hardware decodes, 0..1, where it has some. [default: DALI's, 0.65]",
)
@click.option(
    "--backend",
    type=click.Choice(["nccl", "gloo"]),
    help="Communication between processes. [default: nccl on GPUs, gloo on the CPU]",
)
@click.option(
    "--compile/--no-compile",
    "compile_",
    default=True,
    show_default=True,
    help="Compile the response normalisation; takes about 10 s at the first start.",
)
@click.option(
    "--channels-last/--no-channels-last",
    default=None,
    help="Store images and activations channels-last in memory. [default: on the CPU only]",
)
@click.option("--show-recipe", metavar="NAME", help="Print what a recipe does and all its settings, and exit.")
@click.option(
    "--save-recipe",
    type=OutputFile(".toml"),
    metavar="FILE.toml",
    help="Write the recipe with its changes, as a file for --recipe, and exit.",
)
@click.option("--describe", "describes", is_flag=True, help="Print the network as in the paper's Figure 2, and exit.")
@with_output
@reports_errors
def main(
    shards: str | None,
    out: Path | None,
    cache: Path | None,
    cache_bytes: int,
    fetch_timeout: float,
    storage_options: dict[str, Any] | None,
    statistics: Path | None,
    decoded: Path | None,
    decoded_bytes: int | None,
    subset: tuple[str, ...],
    balanced: bool,
    weights: Path | None,
    init_from: Path | None,
    recipe: str,
    settings: tuple[str, ...],
    epochs: int | None,
    batch_size: int | None,
    width: float | None,
    order: Order | None,
    window: str | None,
    columns: int,
    replicas: int | None,
    checkpoint_every: int | None,
    checkpoint_minutes: float | None,
    keep: int,
    log_every: int,
    tensorboard: bool,
    seed: int,
    num_threads: CountOrAuto,
    decode: Decode,
    hw_decoder_load: float | None,
    backend: str | None,
    compile_: bool,
    channels_last: bool | None,
    show_recipe: str | None,
    save_recipe: Path | None,
    describes: bool,
) -> None:
    """Train AlexNet on a dataset, or resume a stopped run.

    Run the same command again to resume. The replicas share each batch, so the batch size does not depend on their
    number.
    """
    short = {"epochs": epochs, "batch_size": batch_size, "width": width, "order": order, "window": window}
    overrides = [*settings, *(f"{key}={value}" for key, value in short.items() if value is not None)]
    chosen = find_recipe(recipe) if show_recipe is None else find_recipe(show_recipe, "show_recipe")
    chosen = chosen.override(overrides)
    if save_recipe is not None:
        write_recipe(chosen, save_recipe)
        say(f"{save_recipe}: {name_with_changes(chosen)}; train --recipe {save_recipe} trains by it")
        return
    if show_recipe is not None:
        say(recipe_table(chosen))
        return
    if describes:
        classes = 1000
        if shards is not None:
            with open_dataset(shards, cache=cache, storage_options=storage_options) as dataset:
                classes = len(dataset.manifest.classes)
        say(describe(chosen, classes))
        if shards is None:
            say("1000 classes are assumed; --shards DATASET takes their number from a dataset")
        return
    if shards is None or out is None:
        raise click.UsageError(f"Missing option '--{'out' if shards else 'shards'}'.")
    config = TrainingConfig(
        shards=shards,
        out=out,
        recipe=chosen,
        cache=cache,
        cache_bytes=cache_bytes,
        fetch_timeout=fetch_timeout,
        storage_options=storage_options,
        statistics=statistics,
        decoded=decoded,
        decoded_bytes=decoded_bytes,
        subset=read_subset(subset),
        balanced=balanced,
        weights=None if weights is None else read_class_weights(weights),
        init_from=init_from,
        seed=seed,
        checkpoint_every=checkpoint_every,
        checkpoint_minutes=checkpoint_minutes,
        keep=keep,
        log_every=log_every,
        num_threads=num_threads,
        decoding=Decoding(decode=decode, hw_decoder_load=hw_decoder_load),
        compile_=compile_,
        channels_last=channels_last,
        tensorboard=tensorboard,
        lines="none" if is_quiet() else "stderr" if is_json() else "stdout",
        command=typed_command(),
    )
    result = fit(config, columns=columns, replicas=replicas, backend=backend)
    if is_json():
        say_result("", result.asdict())
    if result.stopped_by:
        sys.exit(128 + result.stopped_by)
