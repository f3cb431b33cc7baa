"""Write a report of a run as one HTML page.

The page works offline and fits a screen, a phone and paper. With --shards it also shows ten-view errors, predictions
and similar images.
"""

from pathlib import Path
from typing import Any

import click

from freelight.shards import Dataset
from freelight.shards.base import (
    Command,
    OutputFile,
    atomic_write,
    reports_errors,
    say_result,
    watch_counts,
    with_cache,
    with_output,
)
from freelight.train.evaluation import Processes, with_processes
from freelight.train.inspection import report

FILE = click.Path(path_type=Path)


@click.command(
    name="report",
    help=__doc__,
    cls=Command,
    groups={
        "Run and data": "run shards cache cache-bytes fetch-timeout storage-options features",
        "Result": "out quiet json",
        "Computing": "columns replicas backend threads compile",
    },
    examples=(
        "freelight report --run run",
        "freelight report --run run --shards dataset --out report.html",
    ),
)
@click.option("--run", type=FILE, required=True, help="Folder of the run: the --out of train.")
@click.option("--shards", help="Dataset directory, or its URL with --cache.")
@with_cache
@click.option("--out", type=OutputFile(), help="The HTML file to write. [default: RUN/report.html]")
@click.option(
    "--features", type=FILE, help="Folder for the fc7 features, 16 kB per image. [default: RUN/features/step-NUMBER]"
)
@with_processes
@with_output
@reports_errors
def command(
    run: Path,
    shards: str | None,
    cache: Path | None,
    cache_bytes: int,
    fetch_timeout: float,
    storage_options: dict[str, Any] | None,
    out: Path | None,
    features: Path | None,
    **processes: Any,
) -> None:
    dataset = None
    if shards is not None:
        dataset = Dataset(
            shards, cache=cache, cache_bytes=cache_bytes, fetch_timeout=fetch_timeout, storage_options=storage_options
        )
    page = report(run, dataset, features=features, processes=Processes(**processes), watch=watch_counts("images"))
    if page is None:  # another process reports
        return
    out = out or run / "report.html"
    with atomic_write(out) as file:
        file.write(page.encode())
    size = len(page.encode())
    say_result(f"report: {out} ({size / 1e6:.1f} MB)", {"report": str(out), "bytes": size})
