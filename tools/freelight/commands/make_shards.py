"""Rescale the images of any known layout of ImageNet, or of class folders, to WebDataset shards."""

from pathlib import Path
from typing import Any

import click

from freelight.shards import Rescaling, ShardSettings, list_images, make_shards, summarize, survey
from freelight.shards.base.console import counting_images, reports_errors

PATH = click.Path(path_type=Path)


@click.command(name="make-shards", help=__doc__)
@click.option("--images", type=PATH, required=True, help="Folder of class folders or archives, or an archive.")
@click.option("--out", required=True, help="Dataset directory to write, or to finish; or its URL, such as s3://...")
@click.option("--layout", help="Such as folders, ilsvrc2012 or parquet; a wrong one lists all. [default: recognised]")
@click.option("--workers", default=1, show_default=True, help="Processes; the bytes do not depend on it.")
@click.option("--cluster", help="Address of a Dask scheduler whose workers run the tasks, tcp://host:8786.")
@click.option("--staging", type=PATH, help="Where parquet and tar.gz are staged; a URL wants it. [default: in --out]")
@click.option("--samples-per-shard", type=int, help="[default: a 32nd of the largest split, within 100..2000]")
@click.option("--quality", default=95, show_default=True, help="JPEG quality.")
@click.option("--size", default=256, show_default=True, help="Side of the square output, pixels.")
@click.option("--resampling", default="authors", show_default=True, help="authors, bicubic, bilinear or lanczos.")
@click.option("--seed", default=0, show_default=True, help="Of the shuffle and the validation draw.")
@click.option("--limit", type=int, help="At most so many images a split, drawn by the seed.")
@click.option("--val-fraction", type=float, help="With train alone: the share of each class that becomes val.")
@click.option("--class-names", type=PATH, help="File of '<class id><tab><name>' lines.")
@click.option("--classes", type=PATH, help="File of the class ids to take, one a line. [default: all]")
@click.option("--label-order", default="wnid", show_default=True, help="wnid (sorted ids) or ilsvrc (the devkit's).")
@click.option("--max-rejected", default=0.05, show_default=True, help="Images that may be left out: count, or share.")
@click.option("--dry-run", is_flag=True, help="Say what would be made, and write nothing.")
@reports_errors
def command(
    images: Path,
    out: str,
    workers: int,
    cluster: str | None,
    staging: Path | None,
    samples_per_shard: int | None,
    quality: int,
    size: int,
    resampling: str,
    seed: int,
    limit: int | None,
    max_rejected: float,
    dry_run: bool,
    **listing: Any,
) -> None:
    rescaling = Rescaling(size=size, quality=quality, resampling=resampling)
    settings = ShardSettings(rescaling=rescaling, samples_per_shard=samples_per_shard, seed=seed, limit=limit)
    source = list_images(images, seed=seed, **listing)
    if dry_run:
        lines = survey(source, settings)
    else:
        where: Any = {"workers": workers, "cluster": cluster, "staging": staging}
        watches: Any = {"watch": counting_images("images"), "watch_staging": counting_images("staging")}
        made = make_shards(source, out, settings, max_rejected=max_rejected, **where, **watches)
        lines = summarize(made, out)
    click.echo("\n".join(lines))
