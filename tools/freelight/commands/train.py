"""The command `train`, which is also a separate console command."""

from freelight.train.cli import main as command

__all__ = ["command"]
