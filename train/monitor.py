"""What a run measures between two lines of metrics, left on the device until a line is due."""

import math
import time
from collections.abc import Iterable

import torch
import torch.distributed as dist

from .mesh import Mesh


class Monitor:
    """Sums over the steps since the last line of metrics, and the first step whose loss was not finite.

    loss: summed over images. Nothing here waits for the device but `metrics` and `first_bad_step`.
    """

    def __init__(self, mesh: Mesh, device: str) -> None:
        self.mesh = mesh
        self._sums = torch.zeros(2, dtype=torch.float64, device=device)  # loss, wrong
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self._images = 0
        self._start, self._waited = time.perf_counter(), 0.0

    def begin(self, waited: float) -> None:
        """Begin to count; waited: the loader's seconds of waiting so far."""
        self._sums.zero_()
        self._images = 0
        self._start, self._waited = time.perf_counter(), waited

    def add(self, step: int, loss: torch.Tensor, wrong: torch.Tensor, images: int) -> None:
        """Take in a step: this replica's sum of losses and its wrong answers, and the images of all replicas."""
        self._sums += torch.stack([loss.double(), wrong.double()])
        bad = (self._first_bad < 0) & ~torch.isfinite(loss)
        self._first_bad.copy_(torch.where(bad, step, self._first_bad))
        self._images += images

    def metrics(self, waited: float) -> dict[str, float]:
        """Return the means since `begin`, and images/s with and without the wait for data, on every process."""
        loss, wrong = self.mesh.sum_replicas(self._sums.tolist())
        seconds = time.perf_counter() - self._start
        wait = min(waited - self._waited, seconds)
        return {
            "loss": loss / self._images,
            "train_top1": wrong / self._images,
            "images_per_second": self._images / seconds,
            "images_per_second_without_wait": self._images / max(seconds - wait, 1e-9),
            "wait_share": wait / seconds,
        }

    def first_bad_step(self) -> int | None:
        """Return the first step whose loss was not finite, on every process alike; None: all were."""
        first = int(self._first_bad)
        # The greatest wish wins: the earlier the step, the greater.
        agreed = self.mesh.agree(0 if first < 0 else 2**62 - first)
        return 2**62 - agreed if agreed else None


def norm(tensors: Iterable[torch.Tensor], mesh: Mesh) -> float:
    """Return the Euclidean norm of the whole network's tensors, of which each column has its part."""
    norms = [torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64) for tensor in tensors]
    squares = torch.stack(norms).square().sum()
    if mesh.columns.group is not None:
        dist.all_reduce(squares, group=mesh.columns.group)
    return math.sqrt(float(squares))
