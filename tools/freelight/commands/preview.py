"""Draw a page of a dataset's images as training sees them.

It also shows the lighting noise along each axis, the mean image and the eigenvalues.
"""

from pathlib import Path
from typing import get_args

import click

from freelight.pipeline import Lighting, LightingMode
from freelight.pipeline.pictures import Preview, draw_preview, save_png
from freelight.shards import Dataset, Statistics
from freelight.shards.base import OutputFile, reports_errors, say, with_cache


@click.command(name="preview", help=__doc__)
@click.option("--shards", type=click.Path(path_type=Path), required=True, help="Dataset directory, with statistics.")
@click.option("--out", type=OutputFile(".png"), required=True, help="The .png file to write.")
@click.option("--split", default="train", show_default=True, help="Split to draw from.")
@click.option("--rows", default=4, show_default=True, help="Number of images shown, one per row.")
@click.option("--draws", default=6, show_default=True, help="Number of epochs in which each image is shown.")
@click.option(
    "--lighting",
    type=click.Choice(get_args(LightingMode)),
    default="eigenvalue",
    show_default=True,
    help="Kind of lighting noise.",
)
@click.option("--strength", default=0.1, show_default=True, help="Standard deviation of the lighting noise.")
@click.option("--seed", default=0, show_default=True, help="Seed of the training run whose epochs are shown.")
@with_cache
@reports_errors
def command(
    shards: Path,
    out: Path,
    split: str,
    rows: int,
    draws: int,
    lighting: LightingMode,
    strength: float,
    seed: int,
    cache: Path | None,
    cache_bytes: int,
) -> None:
    preview = Preview(rows=rows, draws=draws, lighting=Lighting(mode=lighting, strength=strength), seed=seed)
    dataset = Dataset(shards, cache=cache, cache_bytes=cache_bytes)
    sheet = draw_preview(dataset, dataset.split(split), Statistics.load(shards), preview)
    save_png(sheet, out)
    say(f"{out}: {sheet.width} x {sheet.height} pixels")
