"""The folder of a run: its checkpoints and its metrics."""

import functools
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..shards import FreelightError
from ..shards.base import (
    TEMPORARY_SUFFIX,
    Mismatch,
    atomic_write,
    fsync_folder,
    lock_file,
    naming_file,
    open_regular,
)
from .checkpoint import Checkpoint
from .metrics import EpochMetrics, RunMetrics, StepMetrics, parse_line

LAST, BEST = "last.pt", "best.pt"
METRICS = "metrics.jsonl"
LOCK = "lock"
MAX_LINE = 1 << 16
"""Maximum size of a line of metrics, bytes."""
PATIENCE = 5.0
"""Seconds to wait for the lock: ranks whose parent was killed end within one."""


class RunFolder:
    """`last.pt`, `best.pt` (lowest top-1 error on val), the `keep` most recent checkpoints, and `metrics.jsonl`.

    Each checkpoint is written once, as `step-NUMBER.pt`; its other names are hard links.
    """

    def __init__(self, path: Path, *, keep: int = 2) -> None:
        self.path = path.absolute()  # the working folder may change later
        self.keep = keep

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder. Raises `FreelightError` while another run uses it."""
        try:
            lock = lock_file(self.path / LOCK, patience=PATIENCE)
        except BlockingIOError:
            raise FreelightError(
                f"another run is using {self.path}; wait until it ends, or choose another `out`"
            ) from None
        try:
            yield
        finally:
            os.close(lock)

    @property
    def last(self) -> Path:
        """Path of the checkpoint that a run resumes from."""
        return self.path / LAST

    def load(self) -> Checkpoint | None:
        """Return the last checkpoint; None if the folder has no checkpoint.

        Raises `FreelightError` if `last.pt` is damaged, or missing although there are others; it names the newest.
        """
        others = [path for path in self._recent() if not self.last.exists() or not path.samefile(self.last)]
        remedy = f"; to resume from an older one: ln -f {others[-1]} {self.last}" if others else ""
        if not self.last.exists():
            if others:
                raise FreelightError(f"{self.last} is missing{remedy}")
            return None
        try:
            return Checkpoint.load(self.last)
        except FreelightError as error:
            raise FreelightError(f"{error}{remedy}") from None

    def save(self, checkpoint: Checkpoint, *, best: bool) -> None:
        """Write a checkpoint. After an error or a kill, the earlier ones still exist."""
        written = self.path / f"step-{checkpoint.progress['step']:08d}.pt"
        checkpoint.save(written)
        for name in (*([BEST] if best else []), LAST):  # last.pt comes last: it holds the best error so far
            _link(written, self.path / name)
        recent = self._recent()
        for path in recent[: max(0, len(recent) - self.keep)]:
            path.unlink()

    def _recent(self) -> list[Path]:
        return sorted(path for path in self.path.glob("step-*.pt") if path.stem.partition("-")[2].isdecimal())

    def drop_after(self, step: int, epoch: int) -> str | None:
        """Delete what a run that resumes after `step`, in `epoch`, computes again, and incomplete files.

        That is checkpoints and metrics of later steps, and validation errors of this epoch and later ones. Lines of
        metrics that cannot be read are deleted too; returns how many, and why the first; None if there is none.
        """
        for path in self.path.glob(f"*.pt.*{TEMPORARY_SUFFIX}"):
            path.unlink()
        for path in self._recent():
            if int(path.stem.partition("-")[2]) > step:
                path.unlink()
        kept: list[bytes] = []
        first, damaged = "", 0
        for text, line in self._lines():
            if isinstance(line, FreelightError):
                first, damaged = first or str(line), damaged + 1
            elif line.step <= step and (isinstance(line, StepMetrics) or line.epoch < epoch):
                kept.append(text)
        if (self.path / METRICS).exists():
            with atomic_write(self.path / METRICS) as file:
                file.writelines(kept)
        if not damaged:
            return None
        return f"{first} and left out" if damaged == 1 else f"{first}; it and {damaged - 1} others are left out"

    def write(self, metrics: StepMetrics | EpochMetrics) -> None:
        """Add a line of metrics."""
        path = self.path / METRICS
        with naming_file(path), open(path, "a", encoding="utf-8", opener=_open_no_link) as file:
            file.write(json.dumps(metrics.asdict()) + "\n")

    def metrics(self) -> RunMetrics:
        """Return the run's metrics; an incomplete last line (of a killed run, or a full disk) is left out.

        Raises `FreelightError` for the first line that cannot be read.
        """
        found = []
        for _, line in self._lines():
            if isinstance(line, FreelightError):
                raise FreelightError(f"{line}; remove the line, or resume the run, which leaves it out")
            found.append(line)
        return RunMetrics.of(found)

    def _lines(self) -> Iterator[tuple[bytes, StepMetrics | EpochMetrics | FreelightError]]:
        """Yield each line of metrics, and what it holds, or why it cannot be read. An incomplete last one is left out.

        A line of over `MAX_LINE` bytes counts as several.
        """
        try:
            file = open_regular(self.path / METRICS, remedy="remove it")
        except FileNotFoundError:
            return
        with file:
            for number, text in enumerate(iter(functools.partial(file.readline, MAX_LINE), b""), 1):
                try:
                    line = parse_line(text)
                except (Mismatch, ValueError) as error:
                    if text.endswith(b"\n") or len(text) == MAX_LINE:
                        yield text, FreelightError(f"{self.path / METRICS}: line {number} is damaged ({error})")
                else:
                    yield text.rstrip(b"\n") + b"\n", line


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)  # a link would lead to a file elsewhere


def _link(source: Path, target: Path) -> None:
    """Give the file `source` the name `target` too, replacing any file of that name atomically."""
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        os.link(source, temporary)
    except OSError:  # a file system without hard links
        with open(source, "rb") as content, atomic_write(target) as file:
            shutil.copyfileobj(content, file)
        return
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # os.replace leaves it where both names already were one file
    fsync_folder(target.parent)
