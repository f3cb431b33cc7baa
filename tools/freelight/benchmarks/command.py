"""Make a benchmark a command: what every one of them takes, prints and exits with."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from freelight.benchmarks.report import Report
from freelight.shards.base.console import OutputFile, reports_errors


def benchmark(function: Callable[..., Report]) -> click.Command:
    """Decorate a function with click options that returns a report; it also gets `rounds`.

    The command prints the report's table and writes its record. Exit codes: 0, 1 for a missed floor, 2 for bad input.
    """

    @click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1), help="After a warm-up round.")
    @click.option("--record", type=OutputFile(), help="JSON file for the results.")
    @reports_errors
    @functools.wraps(function)
    def run(*, record: Path | None, **options: Any) -> None:
        report = function(**options)
        click.echo(report.table())
        if record:
            report.save(record)
        sys.exit(report.exit_code)

    return click.command(name=function.__name__, help=function.__doc__)(run)
