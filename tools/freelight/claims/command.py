"""Make a claim a command: the options, output, files and exit codes that all claims share."""

import functools
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from freelight.benchmarks.machine import machine_facts
from freelight.benchmarks.typed import as_typed
from freelight.claims.finding import Finding
from freelight.claims.session import Session, UnfinishedError, write_json
from freelight.pipeline.pictures import save_png
from freelight.shards.base import Command, options_of, reports_errors, say_result, with_output
from freelight.train import StopRequest

FOLDER = click.Path(path_type=Path, file_okay=False, resolve_path=True)
DATA = click.Path(path_type=Path, resolve_path=True)
"""Both resolved, so that a claim can be continued from another folder."""


def claim(name: str, *, examples: Sequence[str] = ()) -> Callable[[Callable[..., Finding]], click.Command]:
    """Decorate a function that takes a `Session`, `data` and its own click options and returns a `Finding`.

    examples: as of `Command`. The command prints the finding and writes it to OUT, with its picture if there is one.
    Exit codes: 0; 1 if the budget ran out before the end; 2 for bad input; 128 + the signal's number after a signal.
    """

    def decorate(function: Callable[..., Finding]) -> click.Command:
        groups = {"Experiment": f"data {options_of(function)}", "Result": "out budget quiet json"}

        @click.option(
            "--data", type=DATA, required=True, help="Images, or a dataset; the help of each claim says which."
        )
        @click.option("--out", type=FOLDER, required=True, help="Folder for runs, records and pictures.")
        @click.option(
            "--budget",
            type=float,
            metavar="MINUTES",
            help="Stop after this time; the same command continues. [default: no limit]",
        )
        @with_output
        @reports_errors
        @functools.wraps(function)
        def run(*, out: Path, budget: float | None, **options: Any) -> None:
            with StopRequest() as stop:
                began = click.get_current_context().obj
                session = Session(out, budget, stop, began=began or time.monotonic())
                try:
                    finding = function(session, **options)
                except UnfinishedError:
                    left = {"claim": name, "unfinished": True, "planned": session.planned, "done": session.done}
                    say_result(session.unfinished(), left)
                    sys.exit(128 + stop.number if stop.number else 1)
                finally:
                    session.close()
            say_result(finding.table(), save(finding, session))

        return click.command(name=name, help=function.__doc__, cls=Command, groups=groups, examples=examples)(run)

    return decorate


def save(finding: Finding, session: Session) -> dict[str, Any]:
    """Write OUT/<claim>.json with the records of all parts and, if there is a picture, OUT/<claim>.png.

    Returns the record. It names no folder of this machine, so that it can be published.
    """
    parts = [json.loads((session.out / "parts" / f"{part}.json").read_text()) for part in session.done]
    for part in parts:
        part["command"] = as_typed(shlex.split(part["command"]), below=session.out)
    record = {
        **finding.record(),
        "command": as_typed(sys.argv),
        "machine": machine_facts(("torch", "numpy", "pillow")),
        "parts": parts,
    }
    write_json(session.out / f"{finding.claim}.json", record)
    if finding.picture is not None:
        save_png(finding.picture, session.out / f"{finding.claim}.png")
    return record
