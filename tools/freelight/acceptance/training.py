"""The parts that train: speed by precision, a resumed run against an unbroken one, and two columns on one card."""

import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import harmonic_mean

import torch

from freelight.acceptance.datasets import repeated
from freelight.acceptance.measuring import Found
from freelight.acceptance.session import Session
from freelight.shards import FreelightError
from freelight.train import METRICS, Checkpoint, RunFolder, StepMetrics

SETTLED = 0.1
"""Share of a run's steps after which its speed counts."""
TOLERANCE = 1e-2
"""Of a loss, relative: sums in another order."""


def train_in(precision: str) -> Callable[[Session], Found]:
    """Return the part that trains in a precision and says images/s and the wait for data."""

    def train(session: Session) -> Found:
        sizes, run = session.sizes, session.work / f"train-{precision}"
        every = max(1, sizes.steps // 20)
        _train(session, run, sizes.steps, f"--log-every {every} --set precision={precision}")
        lines = [line for line in RunFolder(run).metrics().steps if line.step > SETTLED * sizes.steps]
        if not lines or not all(math.isfinite(line.loss) for line in lines):
            raise FreelightError(f"{run} has a loss that is not finite")
        rates = [line.images_per_second for line in lines]
        share = sum(line.wait_share for line in lines) / len(lines)
        figures = {
            f"images/s in {precision}, batch {sizes.batch_size}": f"{harmonic_mean(rates):,.0f}",
            f"wait for data in {precision}": f"{100 * share:.2f} %",
            f"loss in {precision}, first and last": f"{lines[0].loss:.3f}, {lines[-1].loss:.3f}",
        }
        return Found(figures, {"metrics": [line.asdict() for line in lines]})

    return train


def resume(session: Session) -> Found:
    """Compare a run that SIGTERM stopped, and that was resumed, with one that was not: bit for bit."""
    steps = session.sizes.compared_steps
    unbroken, stopped = session.work / "unbroken", session.work / "stopped"
    _train(session, unbroken, steps, "--log-every 1")
    shutil.rmtree(stopped, ignore_errors=True)  # of a part that was not finished: it must be stopped once more
    _train(session, stopped, steps, "--log-every 1", stop_after=max(1, steps // 4))
    at = len(_lines(stopped))
    if not 0 < at < steps:
        raise FreelightError(f"the run was to be stopped before step {steps}, but had done {at}")
    _train(session, stopped, steps, "--log-every 1")
    differing = _differing(Checkpoint.load(unbroken / "last.pt"), Checkpoint.load(stopped / "last.pt"))
    if differing:
        raise FreelightError(f"a run resumed after step {at} of {steps} differs in {', '.join(differing[:5])}")
    if [line.loss for line in _lines(unbroken)] != [line.loss for line in _lines(stopped)]:
        raise FreelightError(f"a run resumed after step {at} of {steps} has the same weights but other losses")
    return Found({f"stopped after step {at} of {steps}, then resumed": "equal to the bit"}, {})


def columns(session: Session) -> Found:
    """Compare two columns, on one device by gloo, with one process."""
    steps = min(session.sizes.compared_steps, 30)
    settings = "--log-every 1 --set dropout=0"
    runs = {"one process": "", "two columns by gloo": "--columns 2 --backend gloo"}
    lines = {}
    for name, words in runs.items():
        run = session.work / name.replace(" ", "-")
        _train(session, run, steps, f"{settings} {words}")
        lines[name] = _lines(run)
    ours, theirs = lines.values()
    off = max(abs(other.loss / one.loss - 1) for one, other in zip(ours, theirs, strict=True))
    if off > TOLERANCE:
        raise FreelightError(f"the losses of two columns differ from one process's by {off:.1e}, relative")
    rates = {f"images/s, {name}": f"{of[-1].images_per_second:,.0f}" for name, of in lines.items()}
    return Found({**rates, f"greatest difference of {steps} losses, relative": f"{off:.1e}"}, {})


def _train(session: Session, run: Path, steps: int, more: str, *, stop_after: int | None = None) -> None:
    """Train for `steps` steps, one epoch; a run that the session's end stopped is resumed.

    stop_after: stop it by SIGTERM after that many lines of metrics.
    """
    sizes = session.sizes
    shards = repeated(session, steps * sizes.batch_size)
    words = f"--epochs 1 --batch-size {sizes.batch_size} --width {sizes.width} {more}"
    if session.quick:
        words += " --no-compile --set learning_rate=0.001"
    command = [sys.executable, "-m", "freelight", "train", "--shards", shards, "--out", run, *words.split()]
    if stop_after is None:
        session.run(run.name, *command)
        return

    sent: list[int] = []

    def watch(process: "subprocess.Popen[bytes]") -> None:
        metrics = run / METRICS
        if not sent and metrics.exists() and metrics.read_bytes().count(b"\n") >= stop_after:
            process.send_signal(signal.SIGTERM)
            sent.append(signal.SIGTERM)  # a second one would end the process at once

    session.run(run.name, *command, codes=(128 + signal.SIGTERM,), watch=watch)


def _lines(run: Path) -> tuple[StepMetrics, ...]:
    return RunFolder(run).metrics().steps


def _differing(one: Checkpoint, other: Checkpoint) -> list[str]:
    """Return the names of the tensors that differ."""
    return [
        f"{name} of the {kind}"
        for kind in ("weights", "velocity")
        for name, tensor in getattr(one, kind).items()
        if not torch.equal(tensor, getattr(other, kind)[name])
    ]
