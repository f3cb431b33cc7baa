"""Draw a page of a dataset's images as training sees them.

It also shows the lighting noise along each axis, the mean image and the eigenvalues. With --transform it shows any
transform instead, step by step: the crop, each op, the flip, and so on.
"""

from pathlib import Path
from typing import Any, get_args

import click

from freelight.pipeline import Lighting, LightingMode, Mix, Schedule, Transform, Views
from freelight.pipeline.pictures import Preview, draw_preview, draw_transform, load_reference, save_png
from freelight.shards import FreelightError, Statistics, open_dataset
from freelight.shards.base import Command, OutputFile, reports_errors, say, say_result, with_cache, with_output


@click.command(
    name="preview",
    help=__doc__,
    cls=Command,
    groups={
        "Source": "shards split cache cache-bytes fetch-timeout storage-options",
        "What is shown": "transform mix rows draws lighting strength seed",
        "Result": "out quiet json",
    },
    examples=(
        "freelight preview --shards dataset --out preview.png",
        "freelight preview --shards dataset --transform source --out steps.png",
    ),
)
@click.option("--shards", required=True, help="Dataset directory, with statistics, or its URL.")
@click.option("--out", type=OutputFile(".png"), required=True, help="The .png file to write.")
@click.option("--split", default="train", show_default=True, help="Split to draw from.")
@click.option(
    "--transform",
    help="Transform to show: FILE.py:NAME or MODULE:NAME of a Transform, Views, a Schedule or a Recipe, whose code is "
    "run; or a recipe, such as paper or FILE.toml.",
)
@click.option("--mix", help="Mix to show too, on batches of --rows images: FILE.py:NAME or MODULE:NAME of a Mix.")
@click.option("--rows", default=Preview.rows, show_default=True, help="Number of images shown.")
@click.option(
    "--draws", type=int, help="Number of epochs in which each image is shown. [default: 6; with --transform 2]"
)
@click.option(
    "--lighting",
    type=click.Choice(get_args(LightingMode)),
    help=f"Kind of lighting noise. [default: {Lighting.mode}]",
)
@click.option(
    "--strength", type=float, help=f"Standard deviation of the lighting noise. [default: {Lighting.strength}]"
)
@click.option("--seed", default=0, show_default=True, help="Seed of the training run whose epochs are shown.")
@with_cache
@with_output
@reports_errors
def command(
    shards: str,
    out: Path,
    split: str,
    transform: str | None,
    mix: str | None,
    rows: int,
    draws: int | None,
    lighting: LightingMode | None,
    strength: float | None,
    seed: int,
    **options: Any,
) -> None:
    if transform is not None and (lighting, strength) != (None, None):
        raise FreelightError("`transform` says its own `lighting` and `strength`; omit them")
    if mix is not None and transform is None:
        raise FreelightError("`mix` is shown with a `transform`; give both")
    noise = Lighting(mode=lighting or Lighting.mode, strength=Lighting.strength if strength is None else strength)
    draws = (Preview.draws if transform is None else 2) if draws is None else draws
    preview = Preview(rows=rows, draws=draws, lighting=noise, seed=seed)
    with open_dataset(shards, **options) as dataset:
        if transform is None:
            sheet = draw_preview(dataset, dataset.split(split), Statistics.load(dataset), preview)
        else:
            shown = _find(transform)
            statistics = Statistics.load(dataset) if shown.needs_statistics else None
            say(str(shown))
            mixed = None if mix is None else load_reference(mix, "mix", Mix)
            sheet = draw_transform(dataset, dataset.split(split), shown, statistics, preview, name=transform, mix=mixed)
    save_png(sheet, out)
    size = {"out": str(out), "width": sheet.width, "height": sheet.height}
    say_result(f"{out}: {sheet.width} x {sheet.height} pixels", size)


def _find(named: str) -> Transform | Views | Schedule:
    """Return the transform that the option names."""
    from freelight.train import RECIPES, Recipe  # here, because it takes a second
    from freelight.train.recipes import read_recipe

    if named in RECIPES:
        return RECIPES[named].training_transforms()
    if named.endswith(".toml"):
        return read_recipe(Path(named)).training_transforms()
    if ":" not in named:
        raise FreelightError(
            f"`transform` (={named}) is neither a recipe ({', '.join(RECIPES)}, or FILE.toml) nor FILE.py:NAME or "
            "MODULE:NAME"
        )
    found = load_reference(named, "transform", Transform, Views, Schedule, Recipe)
    return found.training_transforms() if isinstance(found, Recipe) else found
