"""`fit`: train from Python, as the command `train` does."""

import functools
import signal
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..shards import FreelightError
from .config import TrainingConfig
from .metrics import RunMetrics
from .parallel.launch import launch
from .parallel.mesh import Mesh
from .parallel.signals import StopRequest
from .precision import Precision
from .progress import summary
from .run_folder import RunFolder
from .trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """A run after `fit`.

    folder: of the run. checkpoint: path of the last one. metrics: of the whole run. stopped_by: the signal that stopped
    the run; None if the schedule has ended.
    """

    folder: RunFolder
    checkpoint: Path
    metrics: RunMetrics
    stopped_by: signal.Signals | None = None

    def asdict(self) -> dict[str, Any]:
        """Return the outcome as plain values: paths, steps, epochs, the best and the last validation errors."""
        epochs = [one.asdict() for one in self.metrics.epochs]
        best = self.metrics.best
        return {
            "run": str(self.folder.path),
            "checkpoint": str(self.checkpoint),
            "steps": max((line.step for line in self.metrics.steps), default=0),
            "best": None if best is None else best.asdict(),
            "last": epochs[-1] if epochs else None,
            "summary": summary(self.metrics),
            "stopped_by": None if self.stopped_by is None else self.stopped_by.name,
        }


def fit(
    config: TrainingConfig, *, columns: int = 1, replicas: int | None = None, backend: str | None = None
) -> FitResult:
    """Train, or resume, the run of `config`; the command `train` calls this.

    columns, replicas, backend: see `launch`. With more than one process, this one starts the others by `spawn`. In a
    script, put the call under `if __name__ == "__main__":`, because each process imports the script. In a notebook it
    works as it is. Call it from the main thread: SIGINT and SIGTERM save the run and end it.

    Raises `FreelightError` for settings or data that cannot be used, and when a run diverges.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    stopped_by = launch(
        functools.partial(_fit_rank, config),
        columns=columns,
        replicas=replicas,
        backend=backend,
        remedy="run the same command again to resume from the last checkpoint",
    )
    folder = RunFolder(config.out, keep=config.keep)
    return FitResult(folder=folder, checkpoint=folder.last, metrics=folder.metrics(), stopped_by=stopped_by)


def _fit_rank(config: TrainingConfig, mesh: Mesh, device: str, stop: StopRequest) -> None:
    """Train in this process, at its place in the mesh; rank 0 keeps other runs out of the folder."""
    folder = RunFolder(config.out, keep=config.keep)
    try:
        with nullcontext() if mesh.rank else folder.locked(), Precision.of(config, device).arithmetic():
            mesh.wait_for_all()  # no rank reads the folder before rank 0 has locked it
            Trainer(config, folder, mesh, device, stop).run()
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(error) from None
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise _out_of_memory(error) from None


def _out_of_memory(error: Exception) -> FreelightError:
    reason = str(error).strip().splitlines()[0]
    return FreelightError(
        f"out of memory ({reason}); reduce `batch_size` (and the learning rate with it) or `width`, "
        "or use more processes (`columns`, `replicas`)"
    )
