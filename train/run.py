"""The folder of a run: its checkpoints, and its metrics."""

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from ..shards import FreelightError
from ..shards.atomic import TEMPORARY_SUFFIX, atomic_write
from .checkpoint import Checkpoint

LAST, BEST = "last.pt", "best.pt"
METRICS = "metrics.jsonl"


class RunFolder:
    """`last.pt`, `best.pt` (the best error on val), the `keep` most recent checkpoints, and `metrics.jsonl`.

    A checkpoint is written once; its other names are links to it.
    """

    def __init__(self, path: Path, *, keep: int) -> None:
        self.path = path
        self.keep = keep

    @property
    def last(self) -> Path:
        """The checkpoint that a run is taken up from."""
        return self.path / LAST

    def load(self) -> Checkpoint | None:
        """Return the last checkpoint; None if there is none. A damaged one is an error that names an older one."""
        if not self.last.exists():
            return None
        try:
            return Checkpoint.load(self.last)
        except FreelightError as error:
            older = [path for path in self._recent() if not path.samefile(self.last)]
            remedy = f"; to go on from an older one: cp {older[-1]} {self.last}" if older else ""
            raise FreelightError(f"{error}{remedy}") from None

    def save(self, checkpoint: Checkpoint, *, best: bool) -> None:
        """Write a checkpoint. After an error, or a kill, the ones before are left."""
        written = self.path / f"step-{checkpoint.progress['step']:08d}.pt"
        checkpoint.save(written)
        for name in (LAST, *([BEST] if best else [])):
            _link(written, self.path / name)
        recent = self._recent()
        for path in recent[: max(0, len(recent) - self.keep)]:
            path.unlink()

    def _recent(self) -> list[Path]:
        return sorted(self.path.glob("step-*.pt"))

    def forget_after(self, step: int) -> None:
        """Drop the metrics and checkpoints of steps that will be taken again."""
        for path in self._recent():
            if int(path.stem.partition("-")[2]) > step:
                path.unlink()
        path = self.path / METRICS
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        with atomic_write(path) as file:
            file.write("".join(f"{line}\n" for line in kept).encode())

    def write(self, metrics: dict[str, Any]) -> None:
        """Add a line of metrics."""
        with open(self.path / METRICS, "a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Return the lines of metrics."""
        path = self.path / METRICS
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _link(source: Path, target: Path) -> None:
    """Give `source` the name `target` too, in place of what has it: at once, or not at all."""
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        try:
            os.link(source, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
