"""What the trainer's tests share: the command `train` on the drawn dataset, and a run that it finished."""

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

import pytest
import torch
from click.testing import CliRunner, Result

from freelight.shards import Dataset
from freelight.train.cli import main

PROGRAM = [sys.executable, "-m", "freelight.train"]
TOOLS = Path(__file__).parents[2] / "tools"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


class Train:
    """The command `train` with a small network on a dataset.

    60 training samples in batches of 16 are 4 steps per epoch, the last with 12. The learning rate is a tenth of the
    paper's: with the paper's, rounding errors grow a thousandfold in ten steps of this small network.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def words(self, out: Path, more: str = "") -> list[str]:
        """Return the arguments, with `more` last, so that it overrides the usual ones."""
        usual = "--no-compile --width 0.05 --threads 1 --log-every 1 --epochs 2"
        settings = "--set batch_size=16 --set learning_rate=0.001"
        words = [*usual.split(), *settings.split(), *more.split()]
        return ["--shards", str(self.dataset.folder), "--out", str(out), *words]

    def here(self, out: Path, more: str = "") -> Result:
        """Run it in this process, which is quicker."""
        return CliRunner().invoke(main, self.words(out, more))

    def typed(self, out: Path, more: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it as typed."""
        words = [*PROGRAM, *self.words(out, more)]
        return subprocess.run(words, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, check=False)

    def begin(self, out: Path, more: str = "", *, background: bool = False) -> subprocess.Popen[str]:
        """Start it as typed, in its own process group; in the `background` it ignores SIGINT, as from a shell."""
        return subprocess.Popen(
            [*PROGRAM, *self.words(out, more)],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_IGN) if background else None,
        )


class Tool(Protocol):
    """Runs a tool by its path. prefix: words before it, such as a launcher's."""

    def __call__(
        self, name: str, *words: str | Path, prefix: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]: ...


class Call(Protocol):
    """Runs a tool's command within this process."""

    def __call__(self, name: str, *words: str | Path) -> Result: ...


@pytest.fixture(scope="session")
def typed() -> Tool:
    """Run a tool by its path, with the virtual environment first on PATH."""

    def run(name: str, *words: str | Path, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        environment = {**ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        typed = [*prefix, TOOLS / name, *words]
        return subprocess.run(typed, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def call() -> Call:
    """Run a tool's command within this process, which saves three seconds of imports."""

    def run(name: str, *words: str | Path) -> Result:
        command = import_module(f"freelight.commands.{name}").command
        return CliRunner().invoke(command, list(map(str, words)))

    return run


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread per process: on a shared machine, the threads of a step wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def train(dataset: Dataset) -> Train:
    return Train(dataset)


@pytest.fixture(scope="session")
def train_on() -> type[Train]:
    return Train


@pytest.fixture(scope="session")
def run(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs on one column, saved at step 3 on the way: read only."""
    out = tmp_path_factory.mktemp("runs") / "one"
    result = train.here(out, "--checkpoint-every 3")
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="session")
def two_column_run(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on two columns, whose ranks the command started itself: read only."""
    out = tmp_path_factory.mktemp("runs") / "two"
    result = train.here(out, "--columns 2")
    assert result.exit_code == 0, result.output
    return out
