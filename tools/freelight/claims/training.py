"""A `train` command of a claim, and the results of its epochs."""

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

from freelight.claims.session import Session, failure, last_line, program
from freelight.shards.base import flag, integer, list_of, number, record
from freelight.train import METRICS, EpochMetrics, RunFolder, StepMetrics


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The results of an epoch. Errors are 0..1.

    train_top1: error over the training images during the epoch, while the weights change. val_top1, val_top5: errors
    after the epoch. images: images trained on. seconds: training time. Both lack up to ten steps of an interrupted
    epoch.
    """

    train_top1: float
    val_top1: float
    val_top5: float
    images: int
    seconds: float


_SHARE = number(least=0, most=1)
_EPOCH = {"train_top1": _SHARE, "val_top1": _SHARE, "val_top5": _SHARE, "images": integer(), "seconds": number(least=0)}
_HOLDS = record({"seed": integer(least=-(2**63)), "diverged": flag, "epochs": list_of(record(_EPOCH))})
"""What the record of a run's part holds."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A `train` command with its own folder. options: all options other than data, folder and seed."""

    name: str
    dataset: Path
    folder: Path
    options: tuple[str, ...]
    seed: int

    @property
    def command(self) -> list[str]:
        """The command as it is typed."""
        words = ["train", "--shards", str(self.dataset), "--out", str(self.folder), "--seed", str(self.seed)]
        return [*words, *self.options]

    @property
    def diverged(self) -> bool:
        """Whether the run ended because its loss was not finite."""
        log = self.folder / "log.txt"
        return log.exists() and "not finite" in last_line(log)

    def epochs(self) -> list[Epoch]:
        """Return the finished epochs: those with a validation error."""
        path = self.folder / METRICS
        if not path.exists():
            return []
        state = path.stat()
        return list(_epochs(path, state.st_size, state.st_mtime_ns))

    def train(
        self, session: Session, epochs: int | None, *, enough: Callable[[list[Epoch]], bool] = lambda _: False
    ) -> None:
        """Train, or resume, until `epochs` are done, `enough` is true, the schedule ends, or the loss is not finite.

        epochs None: no limit. enough: called with the finished epochs. Raises `FreelightError` for any other failure.
        """

        def finished() -> bool:
            done = self.epochs()
            return bool(done) and (enough(done) or (epochs is not None and len(done) >= epochs))

        most = "" if epochs is None else f" of at most {epochs}"
        session.standing = lambda: f"{self.name} has finished {len(self.epochs())}{most} epochs"
        if self.diverged:
            return
        log = self.folder / "log.txt"
        code = session.call(program(self.command), log, until=finished)
        if code and not self.diverged:
            raise failure(self.command, code, log)

    def part(
        self,
        session: Session,
        epochs: int | None,
        *,
        name: str | None = None,
        enough: Callable[[list[Epoch]], bool] = lambda _: False,
    ) -> dict[str, Any]:
        """Train as a part of the session and return the part's record. epochs, enough: as for `train`.

        name: name of the part. [default: the run's name]
        """

        def work() -> dict[str, Any]:
            self.train(session, epochs, enough=enough)
            return {
                "seed": self.seed,
                "diverged": self.diverged,
                "epochs": [asdict(epoch) for epoch in self.epochs()],
            }

        return session.part(name or self.name, self.command, work, self.dataset, _HOLDS)


def epochs_of(record: dict[str, Any]) -> list[Epoch] | None:
    """Return the epochs in a part's record; None if the run diverged."""
    return None if record["diverged"] else [Epoch(**epoch) for epoch in record["epochs"]]


def seconds_per_epoch(records: Mapping[str, dict[str, Any]]) -> str:
    """Return the mean training time of an epoch of each run, as text. records: of the runs' parts, by name.

    A run beside other work, a resumed one, and a record that does not say so (of an earlier version) are not quoted.
    """
    return "seconds per epoch: " + ", ".join(f"{_seconds(record)} ({name})" for name, record in records.items())


def _seconds(record: dict[str, Any]) -> str:
    machine, epochs = record.get("machine", {}), record["epochs"]
    if machine.get("busy", True):
        return "not quoted, other work"
    if machine["resumed"]:
        return "not quoted, resumed"
    return f"{mean(epoch['seconds'] for epoch in epochs):.0f}" if epochs else "no epoch"


@lru_cache(maxsize=1)
def _epochs(path: Path, size: int, changed: int) -> tuple[Epoch, ...]:
    """Read the epochs of a metrics file; cached until its size or modification time (ns) changes."""
    metrics = RunFolder(path.parent).metrics()
    steps = {epoch: list(group) for epoch, group in itertools.groupby(metrics.steps, key=operator.attrgetter("epoch"))}
    return tuple(_epoch(steps[errors.epoch], errors) for errors in metrics.epochs if errors.epoch in steps)


def _epoch(steps: Sequence[StepMetrics], errors: EpochMetrics) -> Epoch:
    """Combine the metrics of one finished epoch."""
    positions = [0, *(line.position for line in steps)]
    images = [after - before for before, after in itertools.pairwise(positions)]
    return Epoch(
        train_top1=sum(n * line.train_top1 for n, line in zip(images, steps, strict=True)) / positions[-1],
        val_top1=errors.val_top1,
        val_top5=errors.val_top5,
        images=positions[-1],
        seconds=sum(n / line.images_per_second for n, line in zip(images, steps, strict=True)),
    )


def short_schedule(epochs: int) -> tuple[str, ...]:
    """Return the options for a short schedule: rates / 10 after 7/10 and after 9/10 of the epochs, rounded up."""
    drops = ",".join(str(drop) for drop in _drops(epochs))
    names = ("schedule=steps", f"drop_epochs={drops}", f"bias_drop_epochs={drops}")
    return ("--epochs", str(epochs), *(word for name in names for word in ("--set", name)))


def dropped(epochs: int) -> str:
    """Describe the drops of that schedule; a drop after the last epoch is left out."""
    drops = [str(drop) for drop in _drops(epochs) if drop < epochs]
    return f"rates / 10 after epoch {' and '.join(drops)}" if drops else "one rate throughout"


def _drops(epochs: int) -> list[int]:
    return list(dict.fromkeys(-(-tenths * epochs // 10) for tenths in (7, 9)))
