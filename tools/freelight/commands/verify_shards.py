"""Check every file of a dataset and name each damaged sample.

Exit code 1: something is damaged.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from freelight.shards import ShardCheck, verify_dataset
from freelight.shards.base import (
    Command,
    CountOrAuto,
    counted,
    progress,
    reports_errors,
    say_result,
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
        "Source": "shards level",
        "Result": "quiet json",
        "Computing": "workers",
    },
    examples=(
        "freelight verify-shards --shards dataset",
        "freelight verify-shards --shards dataset --level decode --workers 8",
    ),
)
@click.option("--shards", type=click.Path(path_type=Path), required=True, help="Dataset directory.")
@click.option(
    "--level",
    default="hash",
    show_default=True,
    help="hash: checksums of the files; crc: also of each sample; decode: also decode each image.",
)
@with_workers
@with_output
@reports_errors
def command(shards: Path, level: str, workers: CountOrAuto) -> None:
    problems = verify_dataset(shards, level=level, workers=workers, watch=watch)
    verdict = counted(len(problems), "problem") if problems else "every byte is as it was written"
    say_result([*problems, f"{shards}: {verdict}"], {"shards": str(shards), "level": level, "problems": problems})
    sys.exit(1 if problems else 0)
