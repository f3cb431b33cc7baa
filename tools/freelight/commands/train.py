"""The command `train`, which is a console command of its own too."""

from freelight.train.cli import main as command

__all__ = ["command"]
