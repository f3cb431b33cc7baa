"""Check every file of a dataset and name each damaged sample.

Exit code 1: something is damaged.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from freelight.shards import ShardCheck, verify_dataset
from freelight.shards.base import (
    Command,
    CountOrAuto,
    counted,
    progress,
    reports_errors,
    say_result,
    storage_options,
    with_output,
    with_workers,
)


def watch(checks: Iterable[ShardCheck], total: int) -> Iterator[ShardCheck]:
    """Show checked shards as a progress bar, in images."""
    return progress(checks, length=total, label="images", weight=lambda check: check.images)


@click.command(
    name="verify-shards",
    help=__doc__,
    cls=Command,
    groups={
        "Source": "shards storage-options level",
        "Result": "quiet json",
        "Computing": "workers",
    },
    examples=(
        "freelight verify-shards --shards dataset",
        "freelight verify-shards --shards dataset --level decode --workers 8",
    ),
)
@click.option("--shards", required=True, help="Dataset directory, or its URL, whose shards are read once.")
@click.option(
    "--level",
    default="hash",
    show_default=True,
    help="hash: checksums of the files; crc: also of each sample; decode: also decode each image.",
)
@with_workers
@storage_options
@with_output
@reports_errors
def command(shards: str, level: str, workers: CountOrAuto, **options: Any) -> None:
    problems = verify_dataset(shards, level=level, workers=workers, watch=watch, **options)
    verdict = "every byte is as it was written"
    if problems:
        verdict = f"{counted(len(problems), 'problem')}; make-shards --repair mends what make-shards wrote"
    say_result([*problems, f"{shards}: {verdict}"], {"shards": str(shards), "level": level, "problems": problems})
    sys.exit(1 if problems else 0)
