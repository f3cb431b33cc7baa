"""Compute a dataset's mean image and RGB eigenbasis.

Mean subtraction and lighting noise need them. Images that are not squares of one size have no mean image; mean and
eigenbasis are over all their pixels. Prints them beside ImageNet's published values, and as constants for other
programs. Run the same command again to continue after a stop; every bit of the result is the same.
"""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from freelight.shards import Dataset, RGBMoments, open_dataset, write_statistics
from freelight.shards.base import (
    Command,
    CountOrAuto,
    progress,
    reports_errors,
    say_result,
    usable_cores,
    with_cache,
    with_output,
    with_workers,
)
from freelight.shards.statistics import comparison_table, constants_snippet


def watch(parts: Iterable[RGBMoments], total: int) -> Iterator[RGBMoments]:
    """Show finished shards as a progress bar, in images."""
    return progress(parts, length=total, label="images", weight=lambda part: part.n_images_)


@click.command(
    name="compute-pca",
    help=__doc__,
    cls=Command,
    groups={
        "Source": "shards split cache cache-bytes fetch-timeout storage-options",
        "Result": "out quiet json",
        "Computing": "workers cluster",
    },
    examples=(
        "freelight compute-pca --shards dataset --workers 8",
        "freelight compute-pca --shards dataset --split val --out val.npz",
    ),
)
@click.option("--shards", required=True, help="Dataset directory, or its URL: the statistics are then put there.")
@click.option("--split", default="train", show_default=True, help="Split to read; any other than train needs --out.")
@click.option("--out", type=click.Path(path_type=Path), help="The .npz file to write. [default: SHARDS/statistics.npz]")
@with_workers
@click.option("--cluster", help="Run on the workers of this Dask scheduler: tcp://host:8786.")
@with_cache
@with_output
@reports_errors
def command(
    shards: str,
    split: str,
    out: Path | None,
    workers: CountOrAuto,
    cluster: str | None,
    cache: Path | None,
    **options: Any,
) -> None:
    streams = 2 * (usable_cores() if workers == "auto" else workers)
    # The workers of a cluster do not see a temporary folder of this machine, so they need a cache.
    opened = nullcontext(Dataset(shards, cache=cache, **options)) if cluster is not None else None
    with opened or open_dataset(shards, cache=cache, streams=streams, **options) as dataset:
        statistics = write_statistics(dataset, split, out=out, workers=workers, cluster=cluster, watch=watch)
    lines = [comparison_table(statistics), f"\n{constants_snippet(statistics)}"]
    if statistics.mean_image is None:
        lines.append("\nno mean image: the images are not squares of one size")
    say_result(lines, statistics.asdict())
