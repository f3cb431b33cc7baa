"""A contender in a process of its own, which speaks the lines of `freelight.benchmarks.protocol`."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

from freelight.benchmarks.timing import Contender, Lap, one_core
from freelight.shards import FreelightError

TOOLS = Path(__file__).parents[2]


@contextmanager
def process_contender(
    name: str, python: Path, module: str, arguments: Sequence[str], *, pinned: bool = False
) -> Iterator[Contender]:
    """Start `python -m module arguments` and yield it as a contender; end it afterwards.

    `module` is one of ours that calls `freelight.benchmarks.protocol.serve`; `python` is the peer's. With `pinned` it
    stays on one core. Raises `FreelightError` with the last line of its error output when it fails.
    """
    # -P: the module's name is looked up under tools/, not in whatever folder we are in.
    command = [str(python), "-P", "-m", module, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(TOOLS)}
    with tempfile.TemporaryFile() as errors, ExitStack() as stack:
        with one_core() if pinned else nullcontext():
            process = stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
                )
            )

        def reply() -> dict[str, Any]:
            assert process.stdout is not None
            line = process.stdout.readline()
            if line:
                answer: dict[str, Any] = json.loads(line)
                return answer
            raise FreelightError(
                f"the contender {name} ended with exit code {process.wait()}: {_last_line(errors)}; if its environment "
                f"is damaged, delete {python.parents[1]} and run tools/benchmark peers again"
            )

        def lap() -> Lap:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it has ended; reply() says why
                os.write(process.stdin.fileno(), b"go\n")  # unbuffered: nothing is left to fail when the pipe is closed
            return Lap(**reply())

        try:
            yield Contender(name=name, lap=lap, versions=reply()["versions"])
        finally:
            process.kill()


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
