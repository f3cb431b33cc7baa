"""What the claims' tests share: the miniature ImageNet, and simulated training."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from metric_lines import step_metrics
from miniatures import ilsvrc2010, ilsvrc2012, mini, tar

from freelight.claims.session import Session, UnfinishedError
from freelight.shards import Dataset, Rescaling, ShardSettings, compute_statistics, list_images, make_shards
from freelight.train import EpochMetrics, RunFolder

__all__ = ["ilsvrc2010", "ilsvrc2012", "mini", "tar"]


class Pretended:
    """Simulates training: writes the metrics of one epoch after another, with errors from `curve`.

    curve: returns the training errors of a command's epochs; None means a loss that is not finite. epochs_left: number
    of epochs that fit into the budget. The validation error is half of the training error; an epoch is 100 images in 2
    s.
    """

    def __init__(self) -> None:
        self.curve: Callable[[str], Sequence[float | None]] = lambda command: [0.5]
        self.commands: list[str] = []
        self.epochs_left = math.inf

    def call(self, session: Session, words: Sequence[str], log: Path, *, until: Callable[[], bool]) -> int:
        command = " ".join(words)
        self.commands.append(command)
        folder = Path(words[list(words).index("--out") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        metrics = folder / "metrics.jsonl"
        done = metrics.read_text().count("val_top1") if metrics.exists() else 0
        for epoch, error in list(enumerate(self.curve(command)))[done:]:
            if until():
                return 0
            if self.epochs_left == 0:
                raise UnfinishedError
            self.epochs_left -= 1
            if error is None:
                log.write_text(f"error: the loss of step {epoch} is not finite\n")
                return 2
            # The first part has a lower error than the second; the mean must weigh both by images.
            steps = [(25, error - 0.03), (100, error + 0.01)]
            run = RunFolder(folder)
            for position, top1 in steps:
                run.write(step_metrics(epoch=epoch, position=position, train_top1=top1, images_per_second=50.0))
            run.write(EpochMetrics(step=2 * epoch + 2, epoch=epoch, val_top1=error / 2, val_top5=0.0))
        return 0


@pytest.fixture(scope="session")
def small(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn pictures at 32 pixels, as CIFAR-10's are."""
    folder = tmp_path_factory.mktemp("made") / "small"
    make_shards(list_images(pictures), folder, ShardSettings(rescaling=Rescaling(size=32), samples_per_shard=100))
    compute_statistics(Dataset(folder)).save(folder)
    return folder


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    found = Pretended()
    monkeypatch.setattr(Session, "call", lambda session, *words, **until: found.call(session, *words, **until))
    return found


def reproduce_here(command: click.Command, *words: object) -> Result:
    """Run a claim's command within this process."""
    return CliRunner().invoke(command, [str(word) for word in words])


@pytest.fixture(scope="session")
def reproduce() -> Callable[..., Result]:
    return reproduce_here
