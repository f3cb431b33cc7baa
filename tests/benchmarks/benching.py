"""What the tests of tools/benchmark share: running it by path, commands within this process, and scripts."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import click
from click.testing import CliRunner, Result

TOOLS = Path(__file__).parents[2] / "tools"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run tools/benchmark as typed: by its path, with the virtual environment first on PATH."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = [str(TOOLS / "benchmark"), *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def call(command: click.Command, *words: str | Path) -> Result:
    return CliRunner().invoke(command, list(map(str, words)))
