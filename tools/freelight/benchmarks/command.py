"""Make a benchmark a command: the options, output and exit codes that all benchmarks share."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from freelight.benchmarks.machine import BUSY_PERCENT, other_work
from freelight.benchmarks.report import Report
from freelight.shards.base import Command, OutputFile, options_of, reports_errors, say_result, with_output


def benchmark(
    name: str, *, on_device: bool = False, examples: Sequence[str] = ()
) -> Callable[[Callable[..., Report]], click.Command]:
    """Decorate a function of its own click options and `rounds` that returns a report.

    on_device: the function also takes `device`, a `torch.device`, which the option --device names. examples: as of
    `Command`. The command prints the report's table and writes its record. Exit codes: 0, 1 for a missed floor, 2 for
    bad input.
    """

    def decorate(function: Callable[..., Report]) -> click.Command:
        own = options_of(function)

        @click.option(
            "--rounds",
            default=5,
            show_default=True,
            type=click.IntRange(min=1),
            help="Rounds to measure, after one warm-up round.",
        )
        @click.option("--record", type=OutputFile(), help="JSON file to write the results to.")
        @with_output
        @reports_errors
        @functools.wraps(function)
        def run(*, record: Path | None, **options: Any) -> None:
            facts: dict[str, Any] = {}
            if on_device:  # loads torch and DALI, which the offline tools' benchmarks do without
                from freelight.benchmarks.device import device_facts
                from freelight.pipeline import resolve_device

                options["device"] = resolve_device(options["device"])
                facts = device_facts(options["device"])
            before = other_work()
            report = function(**options)
            after = other_work()
            report = replace(
                report,
                machine={
                    **report.machine,
                    **facts,
                    "load_average_at_end": round(os.getloadavg()[0], 2),
                    "other_work_percent": [before, after],
                    "busy": max(before, after) > BUSY_PERCENT,
                },
            )
            say_result(report.table(), report.record())
            if record:
                report.save(record)
            sys.exit(report.exit_code)

        if on_device:
            run = click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu or cuda.")(run)
        measured = f"{own} rounds{' device' if on_device else ''}"
        groups = {"What is measured": measured, "Result": "record quiet json"}
        return click.command(name=name, help=function.__doc__, cls=Command, groups=groups, examples=examples)(run)

    return decorate
