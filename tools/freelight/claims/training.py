"""A `train` command of a claim, and what its epochs measured."""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from freelight.claims.session import Session, failure, last_line, program
from freelight.train.run_folder import METRICS, RunFolder


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """train_top1: the error over the epoch's training images, as the weights were when each was seen; val_*: after it.

    Errors are 0..1. seconds: of training. After an interruption inside the epoch up to ten steps are missing.
    """

    train_top1: float
    val_top1: float
    val_top5: float
    images: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """A `train` command with a folder of its own. options: beyond the data, the folder and the seed."""

    name: str
    dataset: Path
    folder: Path
    options: tuple[str, ...]
    seed: int

    @property
    def command(self) -> list[str]:
        """The words as they are typed."""
        words = ["train", "--shards", str(self.dataset), "--out", str(self.folder), "--seed", str(self.seed)]
        return [*words, *self.options]

    @property
    def diverged(self) -> bool:
        """Whether it ended since its loss was not finite."""
        log = self.folder / "log.txt"
        return log.exists() and "not finite" in last_line(log)

    def epochs(self) -> list[Epoch]:
        """Return the epochs that are done: those whose validation error is known."""
        path = self.folder / METRICS
        if not path.exists():
            return []
        state = path.stat()
        return list(_epochs(path, state.st_size, state.st_mtime_ns))

    def train(
        self, session: Session, epochs: int | None, *, enough: Callable[[list[Epoch]], bool] = lambda _: False
    ) -> None:
        """Train, or go on, until so many epochs are done, or enough, or the schedule ends; or the loss is not finite.

        Raises `FreelightError` when it fails otherwise.
        """

        def finished() -> bool:
            done = self.epochs()
            return bool(done) and (enough(done) or (epochs is not None and len(done) >= epochs))

        most = "" if epochs is None else f" of at most {epochs}"
        session.standing = lambda: f"{self.name} stands after {len(self.epochs())}{most} epochs"
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
        """Train as a part of the session: so many epochs, enough, or (None) to the schedule's end.

        Returns the part's record. name: of the part, where it is not the run's.
        """

        def work() -> dict[str, Any]:
            self.train(session, epochs, enough=enough)
            return {
                "seed": self.seed,
                "diverged": self.diverged,
                "epochs": [asdict(epoch) for epoch in self.epochs()],
            }

        return session.part(name or self.name, self.command, work, self.dataset)


def epochs_of(record: dict[str, Any]) -> list[Epoch] | None:
    """Return the epochs of a part's record; None if the run diverged."""
    return None if record["diverged"] else [Epoch(**epoch) for epoch in record["epochs"]]


@lru_cache(maxsize=1)
def _epochs(path: Path, size: int, changed: int) -> tuple[Epoch, ...]:
    """Read the epochs of a file of metrics, once as long as its size and its time (ns) are the same."""
    by_epoch = itertools.groupby(RunFolder(path.parent, keep=1).read(), key=lambda line: line["epoch"])
    return tuple(epoch for _, group in by_epoch if (epoch := _epoch(list(group))) is not None)


def _epoch(lines: list[dict[str, Any]]) -> Epoch | None:
    """Sum up the lines of one epoch; None if it is not over."""
    errors = [line for line in lines if "val_top1" in line]
    steps = [line for line in lines if "loss" in line]
    if not errors or not steps:
        return None
    positions = [0, *(line["position"] for line in steps)]
    images = [after - before for before, after in itertools.pairwise(positions)]
    return Epoch(
        train_top1=sum(n * line["train_top1"] for n, line in zip(images, steps, strict=True)) / positions[-1],
        val_top1=errors[0]["val_top1"],
        val_top5=errors[0]["val_top5"],
        images=positions[-1],
        seconds=sum(n / line["images_per_second"] for n, line in zip(images, steps, strict=True)),
    )


def short_schedule(epochs: int) -> tuple[str, ...]:
    """Return the options of a schedule for so few epochs: rates / 10 after 7 and after 9 tenths of them, rounded up."""
    drops = ",".join(str(drop) for drop in _drops(epochs))
    names = ("schedule=steps", f"drop_epochs={drops}", f"bias_drop_epochs={drops}")
    return ("--epochs", str(epochs), *(word for name in names for word in ("--set", name)))


def dropped(epochs: int) -> str:
    """Say after which epochs that schedule drops the rates; a drop at the end changes nothing."""
    drops = [str(drop) for drop in _drops(epochs) if drop < epochs]
    return f"rates / 10 after epoch {' and '.join(drops)}" if drops else "one rate throughout"


def _drops(epochs: int) -> list[int]:
    return list(dict.fromkeys(-(-tenths * epochs // 10) for tenths in (7, 9)))
