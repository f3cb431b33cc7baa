"""Dropout as in the paper: masked in training, halved at test (section 4.2)."""

from dataclasses import dataclass

import torch

from ..parallel.columns import Columns
from .random_streams import generator_for


@dataclass(frozen=True)
class DropoutMasks:
    """The masks of one training step: a pure function of (seed, step, layer), the same on one column and two.

    batch: images in the whole batch; None: all of them are on this process. first: index in the batch of this process's
    first image. The masks also depend on the device: the CPU draws others than a GPU, and each model of GPU its own,
    because `torch.rand` shares its numbers among as many threads as the GPU runs.
    """

    seed: int
    step: int
    batch: int | None = None
    first: int = 0

    def apply(self, x: torch.Tensor, layer: str, probability: float, columns: Columns) -> torch.Tensor:
        """Set activations of x (N, features of these columns) to 0 with `probability`; the others do not change."""
        features = x.shape[1] * columns.processes
        batch = len(x) if self.batch is None else self.batch
        drawn = torch.rand(
            (batch, features), generator=generator_for(x.device, self.seed, self.step, layer), device=x.device
        )
        own = drawn[self.first : self.first + len(x), columns.part(features)]
        return x * (own >= probability)
