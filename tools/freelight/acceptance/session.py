"""A session of the acceptance: its folder, device, sizes and time limit, and the processes that it runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freelight.shards import FreelightError

GRACE = 15.0
"""Seconds for a process to end by itself when the time is over; training saves its state meanwhile."""


class OutOfTimeError(Exception):
    """The session's time ended in a part, which is therefore not finished."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much each part does.

    train_per_class, val_per_class: drawn pictures. repeats: times that a benchmark's dataset repeats them. rounds: of
    the benchmarks. batch_size, width, steps: of training. compared_steps: of the runs that are compared.
    """

    train_per_class: int
    val_per_class: int
    repeats: int
    rounds: int
    batch_size: int
    width: float
    steps: int
    compared_steps: int


FULL = Sizes(
    train_per_class=100,
    val_per_class=20,
    repeats=8,
    rounds=5,
    batch_size=128,
    width=1.0,
    steps=2000,
    compared_steps=200,
)
QUICK = Sizes(
    train_per_class=4, val_per_class=1, repeats=1, rounds=1, batch_size=8, width=0.05, steps=20, compared_steps=16
)


@dataclass(frozen=True, kw_only=True)
class Session:
    """out: folder of the results. device: "cpu" or "cuda". shards: a dataset to use in place of drawn pictures.

    ends: when the time is over, by `time.monotonic`.
    """

    out: Path
    device: str
    quick: bool
    ends: float
    shards: Path | None = None

    @property
    def sizes(self) -> Sizes:
        """How much each part does."""
        return QUICK if self.quick else FULL

    @property
    def work(self) -> Path:
        """The folder of datasets, runs and logs, which may be deleted once all parts are finished."""
        return self.out / "work"

    @property
    def seconds_left(self) -> float:
        """The time that is left."""
        return self.ends - time.monotonic()

    def freelight(self, command: str, *words: object) -> None:
        """Run a command of Freelight: see `run`."""
        self.run(command, sys.executable, "-m", "freelight", command, *words)

    def run(
        self,
        log: str,
        *words: object,
        codes: tuple[int, ...] = (0,),
        watch: Callable[["subprocess.Popen[bytes]"], None] | None = None,
        **environment: str,
    ) -> str:
        """Run a command; its output goes to `work/LOG.out` and `work/LOG.err`. Return the former.

        codes: exit codes that are no failure. watch: called until the process ends, ten times a second or more.
        Raises `FreelightError` for another exit code, and `OutOfTimeError` when the session's time is over; the
        process and those that it started are ended then.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        output, errors = self.work / f"{log}.out", self.work / f"{log}.err"
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                list(map(str, words)),
                stdout=out,
                stderr=err,
                env={**os.environ, **self._environment(), **environment},
                start_new_session=True,
            )
            try:
                self._wait(process, watch)
            finally:
                _end(process)
        if process.returncode not in codes:
            raise FreelightError(f"{_short(words)} ended with exit code {process.returncode}: {_last_line(errors)}")
        return output.read_text(encoding="utf-8", errors="replace")

    def _environment(self) -> dict[str, str]:
        """Hide the GPUs from a session on the CPU; `train` would take one."""
        return {"CUDA_VISIBLE_DEVICES": ""} if self.device == "cpu" else {}

    def _wait(self, process: "subprocess.Popen[bytes]", watch: Callable[[Any], None] | None) -> None:
        while True:
            if watch:
                watch(process)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.02 if watch else max(0.0, min(self.seconds_left, 1.0)))
                return
            if self.seconds_left <= 0:
                raise OutOfTimeError


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process that still runs, and its group: first by SIGTERM."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _short(words: tuple[object, ...]) -> str:
    """Return a command without the interpreter, for an error."""
    named = [str(word) for word in words]
    return " ".join(named[2:] if named[0] == sys.executable else named)


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{lines[-1]} (see {path})" if lines else f"see {path}"
