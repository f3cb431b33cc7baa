"""What a run shows while it goes on: a line an epoch, and on a terminal a bar within the epoch."""

import sys
from typing import Any

import click


class Progress:
    """Show the metrics of a run, line by line as they come. steps: in an epoch."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.latest: dict[str, Any] = {}

    def __call__(self, line: dict[str, Any]) -> None:
        """Show one line of metrics."""
        if "val_top1" not in line:
            self.latest = line
            if sys.stderr.isatty():
                click.echo(f"\r\033[K{self._training(line)}", nl=False, err=True)
            return
        if sys.stderr.isatty():
            click.echo("\r\033[K", nl=False, err=True)
        errors = f"val error (centre view) {line['val_top1']:.1%} top-1, {line['val_top5']:.1%} top-5"
        click.echo(f"{self._training(self.latest)}, {errors}")

    def _training(self, line: dict[str, Any]) -> str:
        done = line["step"] - line["epoch"] * self.steps
        return (
            f"epoch {line['epoch'] + 1}: step {done}/{self.steps}, loss {line['loss']:.3f}, "
            f"{line['images_per_second']:.0f} images/s, data wait {line['wait_share']:.1%}"
        )
