"""The work of one claim in its folder: one process at a time, within a budget, and a record of every part."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freelight.benchmarks.machine import BUSY_PERCENT, OtherWork, machine_facts
from freelight.shards import Dataset, FreelightError
from freelight.shards.base import (
    Check,
    Pace,
    anything,
    atomic_write,
    check,
    is_quiet,
    lock_file,
    mapping,
    nullable,
    read_json,
    record,
    say,
    text,
)
from freelight.train import StopRequest

POLL_SECONDS = 0.2
GRACE = 0.08
"""Share of the budget that a process gets to save and end. After that it is killed; its last checkpoint is kept."""


class UnfinishedError(Exception):
    """The budget is spent, or the claim was asked to stop. Finished parts are kept."""


@dataclass
class Session:
    """Runs the parts of a claim in the folder `out`. A part that finished earlier is not run again.

    minutes: the budget, counted from `began` (`time.monotonic`); None: no limit. stop: a request to end. planned: names
    of all parts known so far. done: names of the finished ones. standing: returns the progress of the current part, in
    words.
    """

    out: Path
    minutes: float | None
    stop: StopRequest
    began: float = field(default_factory=time.monotonic)
    planned: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    standing: Callable[[], str] | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes > 0:
            raise FreelightError(f"`budget` (={self.minutes}) must be a positive number of minutes")
        (self.out / "parts").mkdir(parents=True, exist_ok=True)
        try:
            self._lock = lock_file(self.out / "lock")
        except BlockingIOError:
            raise FreelightError(
                f"`out` {self.out} is in use by another command, or by a process that a killed command left; wait for "
                "it, end it, or give another `out`"
            ) from None

    def close(self) -> None:
        """Release the folder for other commands."""
        os.close(self._lock)

    @property
    def seconds(self) -> float:
        """Seconds since the session began."""
        return time.monotonic() - self.began

    def plan(self, names: Sequence[str]) -> None:
        """Add names of parts that will follow."""
        self.planned = [*dict.fromkeys([*self.planned, *names])]

    def part(
        self,
        name: str,
        command: Sequence[str],
        work: Callable[[], dict[str, Any]],
        dataset: Path,
        holds: Check = anything,
    ) -> dict[str, Any]:
        """Return the record of a part: the result of `work`, the command, the data's fingerprint, the revision.

        The record is saved when the part ends, and read if it exists. dataset: the folder that the part makes or reads.
        holds: what `work` returns. Raises `FreelightError` if the record is from another command or other data, or is
        damaged.
        """
        path = self.out / "parts" / f"{name}.json"
        self.plan([name])
        line = shlex.join(command)
        if path.exists():
            record = _read_record(path, holds)
            if _as_typed_now(record["command"]) != line:
                raise FreelightError(
                    f"{path} is from another command ({record['command']}, now {line}); give the same options or "
                    "another `out`"
                )
            before, now = record.get("dataset_fingerprint"), fingerprint(dataset)
            if before and now and before != now:
                raise FreelightError(
                    f"{path} is from another dataset ({before[:12]}; {dataset} is now {now[:12]}); give another `out`"
                )
        else:
            record = {"part": name, "command": line, **self._measured(name, work)}
            record["dataset_fingerprint"] = fingerprint(dataset)
            write_json(path, record)
        self.done.append(name)
        self.standing = None
        return record

    def _measured(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do the work of a part. Return its result, and under `machine` whether its speed means anything.

        busy: others used a good part of the processors. resumed: an earlier session began the work.
        """
        begun = self.out / "parts" / f"{name}.begun"
        resumed = begun.exists()
        begun.touch()
        load, others = os.getloadavg()[0], OtherWork()
        result = work()
        percent = others.percent()
        begun.unlink()
        machine = machine_facts(("torch", "numpy", "pillow"))
        machine |= {"load_average_at_end": machine["load_average"], "load_average": round(load, 2)}
        return {
            **result,
            "machine": {**machine, "other_work_percent": percent, "busy": percent > BUSY_PERCENT, "resumed": resumed},
        }

    def call(self, words: Sequence[str], log: Path, *, until: Callable[[], bool] = lambda: False) -> int:
        """Run a process that SIGTERM can stop and that can be resumed; return its exit code.

        log: file to which its output is appended; every 30 s its last line is shown on stderr. until: ends the process
        as soon as it returns true; then the result is 0. Our Python is first on PATH. Raises `UnfinishedError` when the
        budget is spent or the claim was asked to stop.
        """
        if self._is_over():
            raise UnfinishedError
        if until():
            return 0
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                # Ctrl-C reaches this process only, which then ends the other. The other one also holds the lock.
                start_new_session=True,
                pass_fds=(self._lock,),
            )
        pace = Pace(None)
        try:
            while True:
                if pace.is_line_due() and not is_quiet():
                    number, parts = len(self.done) + 1, len(self.planned)
                    say(f"part {number} of {parts}, {log.stem}: {last_line(log)}", err=True)
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(POLL_SECONDS)
                if until():
                    return 0
                if self._is_over():
                    raise UnfinishedError
        finally:
            self._end(process)

    def must_call(self, words: Sequence[str], log: Path) -> None:
        """Call, and raise `FreelightError` with the last line of the output if the process fails."""
        code = self.call(words, log)
        if code:
            raise failure(words, code, log)

    def _is_over(self) -> bool:
        return bool(self.stop.number) or (self.minutes is not None and self.seconds >= 60 * self.minutes)

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(None if self.minutes is None else GRACE * 60 * self.minutes)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def unfinished(self) -> str:
        """Return a line that says which parts are done and which are not."""
        left = [name for name in self.planned if name not in self.done]
        why = (
            "the budget is spent" if self.stop.number is None else f"stopped by {signal.Signals(self.stop.number).name}"
        )
        standing = f" ({self.standing()})" if self.standing is not None else ""
        return (
            f"{why} after {self.seconds / 60:.1f} minutes: {len(self.done)} of {len(self.planned)} parts are done, "
            f"{len(left)} did not fit: {', '.join(left)}{standing}; run the same command again to continue"
        )


def _read_record(path: Path, holds: Check) -> dict[str, Any]:
    """Return the checked record of a part."""
    remedy = "delete it, and the part runs again"
    found: dict[str, Any] = read_json(path, mapping(anything), remedy=remedy)
    session = {"command": text(), "dataset_fingerprint": nullable(text()), "part": anything, "machine": anything}
    own = {key: found.get(key) for key in session}
    check(own, record(session), where=path, remedy=remedy)
    check({key: value for key, value in found.items() if key not in session}, holds, where=path, remedy=remedy)
    return found


def program(words: Sequence[str]) -> list[str]:
    """Return what runs a command as typed, `freelight ...` or `train ...`, with this Python."""
    # -P: never import from the current folder.
    python = [sys.executable, "-P", "-m", "freelight"]
    return [*python, *words] if words[0] == "train" else [*python, *words[1:]]


def fingerprint(dataset: Path) -> str | None:
    """Return the fingerprint of a dataset; None if the folder holds none."""
    return Dataset(dataset).fingerprint if (dataset / "dataset.json").is_file() else None


def _as_typed_now(line: str) -> str:
    """Return a recorded command in today's spelling: an earlier version recorded `tools/make_shards`."""
    tool, space, words = line.partition(" ")
    return f"freelight {tool[6:].replace('_', '-')}{space}{words}" if tool.startswith("tools/") else line


def failure(command: Sequence[str], code: int, log: Path) -> FreelightError:
    """Return the error for a failed process."""
    return FreelightError(f"{shlex.join(command)}: exit code {code}: {last_line(log)} (log: {log})")


def last_line(log: Path) -> str:
    """Return the last line of a process's output."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record, atomically."""
    with atomic_write(path) as file:
        file.write(json.dumps(record, indent=1, allow_nan=False).encode() + b"\n")
