"""Run Freelight on a card for the first time: tests, benchmarks and training, in parts.

Run the same command again until all parts are finished. Each part's result is a file in OUT/parts, written when the
part is finished; delete it to do the part again. docs/gpu.md explains the parts. Exit code 1: a part failed; 3: parts
are not finished, and none has failed.
"""

import sys
import time
from pathlib import Path

import click

from freelight.shards.base import Command, reports_errors, say_result, with_output

UNFINISHED = 3


@click.command(
    name="gpu-acceptance",
    help=__doc__,
    cls=Command,
    groups={
        "What is run": "device quick shards minutes",
        "Result": "out table quiet json",
    },
    examples=(
        "freelight gpu-acceptance --out acceptance",
        "freelight gpu-acceptance --out try --device cpu --quick",
    ),
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for results, datasets and runs.")
@click.option("--device", default="cuda", show_default=True, help="Where to compute: cpu or cuda.")
@click.option("--quick", is_flag=True, help="Tiny sizes, to try the command itself; the figures mean nothing.")
@click.option(
    "--shards",
    type=click.Path(path_type=Path, exists=True),
    help="Dataset directory of squares with statistics, to use in place of drawn pictures.",
)
@click.option(
    "--minutes", default=9.0, show_default=True, type=click.FloatRange(min=0.1), help="Time limit of this call."
)
@click.option("--table", is_flag=True, help="Only print the results in OUT, of any machine.")
@with_output
@reports_errors
def command(out: Path, device: str, quick: bool, shards: Path | None, minutes: float, table: bool) -> None:
    ends = time.monotonic() + 60 * minutes - 10  # for ending a process and writing the table
    from freelight.acceptance.parts import PARTS, run_parts  # load torch, which --help must not
    from freelight.acceptance.results import Results
    from freelight.acceptance.session import Session
    from freelight.pipeline import resolve_device

    names = [part.name for part in PARTS]
    if table:
        say_result(Results(out).table(names), Results(out).content(names))
        return
    kind = resolve_device(device).type
    results = run_parts(Session(out=out.absolute(), device=kind, quick=quick, ends=ends, shards=shards))
    finished = [result for result in map(results.load, names) if result is not None]
    failed = [result.part for result in finished if not result.passed]
    passed = len(finished) - len(failed)
    lines = ["", results.table(names), ""]
    lines += [f"{passed} of {len(names)} parts passed, {len(failed)} failed; results: {results.folder}"]
    if len(finished) < len(names):
        lines.append("run the same command again for the rest")
    say_result(lines, results.content(names))
    sys.exit(1 if failed else UNFINISHED if len(finished) < len(names) else 0)
