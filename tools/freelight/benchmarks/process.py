"""A contender in its own process, which follows `freelight.benchmarks.protocol`."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

from freelight.benchmarks.timing import Contender, Lap, one_core
from freelight.shards import FreelightError

PACKAGE = Path(__file__).parents[1]


@contextmanager
def freelight_alone() -> Iterator[dict[str, str]]:
    """Yield an environment whose Python can import `freelight`, but no package that is installed beside it.

    A wheel is in our site-packages; from there a peer would import our torch and numpy instead of its own.
    """
    with tempfile.TemporaryDirectory(prefix="freelight-benchmark-") as folder:
        Path(folder, "freelight").symlink_to(PACKAGE)
        yield {**os.environ, "PYTHONPATH": folder}


def run_module(module: str, *words: object, python: Path = Path(sys.executable)) -> Any:
    """Run one of our modules and return the JSON in its last line of output. python: the peer's, if it is a peer's."""
    command = [str(python), "-P", "-m", module, *map(str, words)]
    with freelight_alone() as environment:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode or not ended.stdout:
        reason = ended.stderr.strip().splitlines()
        raise FreelightError(f"{' '.join(command)} failed: {reason[-1] if reason else ended.returncode}")
    return json.loads(ended.stdout.splitlines()[-1])


@contextmanager
def process_contender(
    name: str, python: Path, module: str, arguments: Sequence[str], *, pinned: bool = False
) -> Iterator[Contender]:
    """Start `python -m module arguments` and yield it as a contender; end it afterwards.

    module: one of ours that calls `freelight.benchmarks.protocol.serve`. python: the peer's. pinned: keep it on one
    core. Raises `FreelightError` with the last line of its error output when it fails.
    """
    # -P: never import from the current folder.
    command = [str(python), "-P", "-m", module, *arguments]
    with tempfile.TemporaryFile() as errors, ExitStack() as stack:
        environment = stack.enter_context(freelight_alone())
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
                f"is damaged, delete {python.parents[1]} and run `freelight benchmark peers` again"
            )

        def lap() -> Lap:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # the process has ended; reply() raises its error
                os.write(process.stdin.fileno(), b"go\n")  # unbuffered, so closing the pipe cannot fail later
            return Lap(**reply())

        try:
            yield Contender(name=name, lap=lap, versions=reply()["versions"])
        finally:
            process.kill()


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"
