"""What a run shows while it goes on: a line an epoch, and on a terminal a bar within the epoch; and TensorBoard's."""

import sys
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from PIL import Image

from ..shards import FreelightError


class Progress:
    """Show the metrics of a run, line by line as they come. steps: in an epoch.

    events: folder for TensorBoard's events, or None. step: that the run is taken up after.
    """

    def __init__(self, steps: int, *, events: Path | None = None, step: int = 0) -> None:
        self.steps = steps
        self.latest: dict[str, Any] = {}
        self._writer = None if events is None else _writer(events, step)

    def line(self, line: dict[str, Any]) -> None:
        """Show one line of metrics."""
        if self._writer is not None:
            for name in line.keys() - {"step", "epoch", "position"}:
                self._writer.add_scalar(name, line[name], line["step"])
        on_terminal = sys.stderr.isatty()
        if "val_top1" not in line:
            self.latest = line
            if on_terminal:
                click.echo(f"\r\033[K{self._bar(line)} {self._training(line)}", nl=False, err=True)
            return
        if on_terminal:
            click.echo("\r\033[K", nl=False, err=True)
        errors = f"val error (centre view) {line['val_top1']:.1%} top-1, {line['val_top5']:.1%} top-5"
        click.echo(
            f"{self._training(self.latest)}, {errors}" if self.latest else f"epoch {line['epoch'] + 1}: {errors}"
        )

    def kernels(self, sheet: Image.Image, step: int) -> None:
        """Show the first layer's kernels."""
        if self._writer is not None:
            self._writer.add_image("kernels", np.asarray(sheet), step, dataformats="HWC")

    def flush(self) -> None:
        """Have what was shown be written: a run that is taken up does not show it again."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """End."""
        if self._writer is not None:
            self._writer.close()

    def _bar(self, line: dict[str, Any]) -> str:
        done = round(20 * (line["step"] - line["epoch"] * self.steps) / self.steps)
        return f"[{'#' * done}{'-' * (20 - done)}]"

    def _training(self, line: dict[str, Any]) -> str:
        done = line["step"] - line["epoch"] * self.steps
        return (
            f"epoch {line['epoch'] + 1}: step {done}/{self.steps}, loss {line['loss']:.3f}, "
            f"{line['images_per_second']:.0f} images/s, data wait {line['wait_share']:.1%}"
        )


def _writer(events: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise FreelightError(
            "--tensorboard needs the package tensorboard: pip install 'freelight[tensorboard]'"
        ) from None
    # What was written after `step` by a run that died is not shown.
    return SummaryWriter(str(events), purge_step=step + 1)


def summary(metrics: list[dict[str, Any]]) -> str:
    """Summarise a run by its lines of metrics: epochs, best error, speed."""
    steps = [line for line in metrics if "loss" in line]
    epochs = [line for line in metrics if "val_top1" in line]
    parts = [f"{max((line['step'] for line in metrics), default=0)} steps, {len(epochs)} epochs"]
    if epochs:
        best = min(epochs, key=lambda line: line["val_top1"])
        parts.append(f"best centre-view error {best['val_top1']:.1%} top-1 in epoch {best['epoch'] + 1}")
    if steps:
        speed, wait = (median(line[name] for line in steps) for name in ("images_per_second", "wait_share"))
        parts.append(f"median {speed:.0f} images/s, data wait {wait:.1%}")
    return "; ".join(parts)
