"""Show a run's progress: one line per epoch, a bar within the epoch on a terminal, and TensorBoard events."""

import sys
from pathlib import Path
from statistics import median
from typing import Any, Literal

import click
import numpy as np
from PIL import Image

from ..shards import FreelightError
from ..shards.base import Pace, counted, naming_file, say
from .metrics import EpochMetrics, RunMetrics, StepMetrics

Lines = Literal["stdout", "stderr", "none"]
"""Where the lines about a run go."""


def tell(text: str, lines: Lines) -> None:
    """Print a line about the run."""
    if lines != "none":
        say(text, err=lines == "stderr")


class Progress:
    """Show a run's metrics as they come: on a terminal in one line that changes, elsewhere in a line every 30 s.

    steps: in one epoch. epochs: at most. with_top5: show top-5 errors. lines: where a line for each epoch goes. events:
    folder for TensorBoard's events; None writes none. step: steps done so far; events of later steps, left by a killed
    run, are hidden.
    """

    def __init__(
        self,
        steps: int,
        epochs: int,
        *,
        with_top5: bool = True,
        lines: Lines = "stdout",
        events: Path | None = None,
        step: int = 0,
    ) -> None:
        self.steps = steps
        self.epochs = epochs
        self.with_top5 = with_top5
        self.lines = lines
        self.latest: StepMetrics | None = None
        self._pace = Pace(steps * epochs, step)
        self._events = events
        self._writer = None if events is None else _writer(events, step)

    def line(self, line: StepMetrics | EpochMetrics) -> None:
        """Show one line of metrics."""
        for name, value in line.asdict().items():
            if name not in ("step", "epoch", "position"):
                self._tensorboard("add_scalar", name, value, line.step)
        if isinstance(line, EpochMetrics):
            self.end_epoch(line)
            return
        self.latest = line
        left = self._pace.left(self._pace.add(line.step - self._pace.done))
        self._update(f"{self._training(line)}, {left} of at most {counted(self.epochs, 'epoch')}", self._bar(line))

    def validation(self, done: int, images: int) -> None:
        """Show how many images of a validation are done."""
        self._update(f"validation: {done:,} of {images:,} images")

    def end_epoch(self, validation: EpochMetrics | None = None) -> None:
        """Show the last step of an epoch, if this process did it, and the validation errors, if there are any."""
        if sys.stderr.isatty() and self.lines != "none":
            click.echo("\r\033[K", nl=False, err=True)
        parts = [] if self.latest is None else [self._training(self.latest)]
        if validation is not None:
            top5 = f", {validation.val_top5:.1%} top-5" if self.with_top5 else ""
            errors = f"val error (centre view) {validation.val_top1:.1%} top-1{top5}"
            parts.append(errors if parts else f"epoch {validation.epoch + 1}: {errors}")
        tell(", ".join(parts), self.lines)

    def _update(self, text: str, bar: str = "") -> None:
        if self.lines == "none":
            return
        if sys.stderr.isatty():
            click.echo(f"\r\033[K{bar} {text}", nl=False, err=True)
        elif self._pace.is_line_due():
            say(text, err=True)

    def kernels(self, sheet: Image.Image, step: int) -> None:
        """Show the first layer's kernels."""
        self._tensorboard("add_image", "kernels", np.asarray(sheet), step, dataformats="HWC")

    def flush(self) -> None:
        """Write buffered events to disk; a resumed run does not write them again."""
        self._tensorboard("flush")

    def close(self) -> None:
        """Close the event file."""
        self._tensorboard("close")

    def _tensorboard(self, method: str, *arguments: Any, **options: Any) -> None:
        """Call a method of TensorBoard's writer, if there is one."""
        if self._events is not None:
            with naming_file(self._events):
                getattr(self._writer, method)(*arguments, **options)

    def _bar(self, line: StepMetrics) -> str:
        done = round(20 * (line.step - line.epoch * self.steps) / self.steps)
        return f"[{'#' * done}{'-' * (20 - done)}]"

    def _training(self, line: StepMetrics) -> str:
        done = line.step - line.epoch * self.steps
        return (
            f"epoch {line.epoch + 1}: step {done}/{self.steps}, loss {line.loss:.3f}, "
            f"{line.images_per_second:.0f} images/s, data wait {line.wait_share:.1%}"
        )


def _writer(events: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise FreelightError(
            "`tensorboard` needs the package tensorboard; install it with: pip install 'freelight[tensorboard]'"
        ) from None
    return SummaryWriter(str(events), purge_step=step + 1)


def summary(metrics: RunMetrics) -> str:
    """Summarise a run in one line: steps, epochs, best error, median speed."""
    ends = [(line.step, line.epoch + 1) for lines in (metrics.steps, metrics.epochs) for line in lines[-1:]]
    steps, begun = max(ends, default=(0, 0))
    epochs = counted(len(metrics.epochs) or begun, "epoch")
    parts = [f"{counted(steps, 'step')}, {epochs}"]  # without a split val, none is validated
    if metrics.best is not None:
        parts.append(f"best centre-view error {metrics.best.val_top1:.1%} top-1 in epoch {metrics.best.epoch + 1}")
    if metrics.steps:
        speed = median(line.images_per_second for line in metrics.steps)
        wait = median(line.wait_share for line in metrics.steps)
        parts.append(f"median {speed:.0f} images/s, data wait {wait:.1%}")
    return "; ".join(parts)
