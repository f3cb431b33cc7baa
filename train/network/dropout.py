"""Dropout as the paper has it: masked in training, halved at test (section 4.2)."""

from dataclasses import dataclass

import torch

from ..parallel.columns import Columns
from .random_streams import generator_for


@dataclass(frozen=True)
class DropoutMasks:
    """The masks of one training step, a pure function of (seed, step, layer): the same on any columns, and resumed.

    batch: images of the whole batch, of which this process has those from `first` on; None: all that come.
    On another kind of device the masks are others, since torch's generators are.
    """

    seed: int
    step: int
    batch: int | None = None
    first: int = 0

    def apply(self, x: torch.Tensor, layer: str, probability: float, columns: Columns) -> torch.Tensor:
        """Zero each of x's (N, its columns' features) activations with `probability`; the rest keep their size."""
        features = x.shape[1] * columns.processes
        batch = len(x) if self.batch is None else self.batch
        drawn = torch.rand(
            (batch, features), generator=generator_for(x.device, self.seed, self.step, layer), device=x.device
        )
        own = drawn[self.first : self.first + len(x), columns.part(features)]
        return x * (own >= probability)
