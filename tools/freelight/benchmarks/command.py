"""Make a benchmark a command: the options, output and exit codes that all benchmarks share."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from freelight.benchmarks.report import Report
from freelight.shards.base import OutputFile, reports_errors, say


def benchmark(name: str) -> Callable[[Callable[..., Report]], click.Command]:
    """Decorate a function of its own click options and `rounds` that returns a report.

    The command prints the report's table and writes its record. Exit codes: 0, 1 for a missed floor, 2 for bad input.
    """

    def decorate(function: Callable[..., Report]) -> click.Command:
        @click.option(
            "--rounds",
            default=5,
            show_default=True,
            type=click.IntRange(min=1),
            help="Rounds to measure, after one warm-up round.",
        )
        @click.option("--record", type=OutputFile(), help="JSON file to write the results to.")
        @reports_errors
        @functools.wraps(function)
        def run(*, record: Path | None, **options: Any) -> None:
            report = function(**options)
            say(report.table())
            if record:
                report.save(record)
            sys.exit(report.exit_code)

        return click.command(name=name, help=function.__doc__)(run)

    return decorate
