"""Run the whole chain on drawn pictures, from shards to report.

Echoes each command that it runs.
"""

import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from freelight.shards.base import Command, is_json, is_quiet, say, say_result, with_output

COMMANDS = """
freelight draw-pictures --out {work}/images --train-per-class 100 --val-per-class 20
freelight make-shards --images {work}/images --class-names {work}/images/class-names.tsv --out {work}/dataset
freelight compute-pca --shards {work}/dataset
freelight train --shards {work}/dataset --out {work}/run --columns 2 --no-compile --width 0.125 --epochs 12 --set batch_size=32
freelight evaluate --checkpoint {work}/run/last.pt --shards {work}/dataset --views 10
freelight report --run {work}/run --shards {work}/dataset
"""  # noqa: E501


def run(words: list[str]) -> str:
    """Echo a command, run it, and return its last line of output. End this process when it fails."""
    if not (is_quiet() or is_json()):
        click.secho(f"\n$ {shlex.join(words)}", bold=True)
    # This Python's command, also where no virtual environment is on PATH.
    program = [sys.executable, "-m", *words, *(["--quiet"] if is_quiet() else [])]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            say(line.rstrip("\n"))
            last = line.strip()
    if process.returncode:
        sys.exit(process.returncode)
    return last


@click.command(
    name="demo",
    help=__doc__,
    cls=Command,
    groups={
        "Result": "work quiet json",
    },
    examples=(
        "freelight demo",
        "freelight demo --work /tmp/demo",
    ),
)
@click.option("--work", default="build/demo", show_default=True, help="Folder for all files; emptied first.")
@with_output
def command(work: str) -> None:
    start = time.monotonic()
    if Path(work).exists() and any(Path(work).iterdir()) and not Path(work, "images", "class-names.tsv").exists():
        raise click.UsageError(f"--work {work} holds files that the demo did not make; give a new folder")
    shutil.rmtree(work, ignore_errors=True)
    last_lines = {}
    for line in COMMANDS.strip().splitlines():
        words = [word.format(work=work) for word in line.split()]
        last_lines[words[1]] = run(words)
    from freelight.train import RunFolder  # loads torch, which --help must not

    waits = [step.wait_share for step in RunFolder(Path(work, "run")).metrics().steps]
    share, seconds = sum(waits) / len(waits), time.monotonic() - start
    errors, page = last_lines["evaluate"], Path(work, "run", "report.html")
    lines = ["", f"demo: {errors}; data wait {share:.1%} of training; {seconds:.0f} s", last_lines["report"]]
    say_result(lines, {"errors": errors, "wait_share": share, "seconds": seconds, "report": str(page)})
