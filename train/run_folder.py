"""The folder of a run: its checkpoints and its metrics."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..shards import FreelightError
from ..shards.base.atomic import TEMPORARY_SUFFIX, atomic_write, fsync_folder
from ..shards.base.disk import naming_file
from ..shards.base.locks import lock_file
from .checkpoint import Checkpoint
from .metrics import EpochMetrics, RunMetrics, StepMetrics, parse_line

LAST, BEST = "last.pt", "best.pt"
METRICS = "metrics.jsonl"
LOCK = "lock"
PATIENCE = 5.0
"""Seconds to wait for the lock: ranks whose parent was killed end within one."""


class RunFolder:
    """`last.pt`, `best.pt` (lowest top-1 error on val), the `keep` most recent checkpoints, and `metrics.jsonl`.

    Each checkpoint is written once, as `step-NUMBER.pt`; its other names are hard links.
    """

    def __init__(self, path: Path, *, keep: int = 2) -> None:
        self.path = path
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
        return sorted(self.path.glob("step-*.pt"))

    def drop_after(self, step: int) -> None:
        """Delete metrics and checkpoints of later steps, which are computed again, and incomplete files."""
        for path in self.path.glob(f"*.pt.*{TEMPORARY_SUFFIX}"):
            path.unlink()
        for path in self._recent():
            if int(path.stem.partition("-")[2]) > step:
                path.unlink()
        path = self.path / METRICS
        if not path.exists():
            return
        kept = [line for line in self._lines() if self._parse(line).step <= step]
        with atomic_write(path) as file:
            file.write("".join(f"{line}\n" for line in kept).encode())

    def write(self, metrics: StepMetrics | EpochMetrics) -> None:
        """Add a line of metrics."""
        path = self.path / METRICS
        with naming_file(path), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(metrics.asdict()) + "\n")

    def metrics(self) -> RunMetrics:
        """Return the run's metrics; an incomplete last line (of a killed run, or a full disk) is left out."""
        return RunMetrics.of(map(self._parse, self._lines()))

    def _parse(self, line: str) -> StepMetrics | EpochMetrics:
        try:
            return parse_line(line)
        except (KeyError, ValueError) as error:
            raise FreelightError(f"{self.path / METRICS} has a damaged line ({error!r}): {line}; remove it") from None

    def _lines(self) -> list[str]:
        path = self.path / METRICS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [line for line in lines if line.endswith("}")]


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
