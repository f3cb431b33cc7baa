"""Dropout as the paper has it: masked in training, halved at test (section 4.2)."""

import hashlib
from dataclasses import dataclass

import torch

from .columns import Columns


@dataclass(frozen=True)
class DropoutMasks:
    """The masks of one training step, a pure function of (seed, step, layer): the same on any columns, and resumed.

    On another kind of device the masks are others, since torch's generators are.
    """

    seed: int
    step: int

    def apply(self, x: torch.Tensor, layer: str, probability: float, columns: Columns) -> torch.Tensor:
        """Zero each of x's (N, its columns' features) activations with `probability`; the rest keep their size."""
        features = x.shape[1] * columns.processes
        name = f"{self.seed}/{self.step}/{layer}".encode()
        number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")
        generator = torch.Generator(x.device).manual_seed(number >> 1)
        drawn = torch.rand((x.shape[0], features), generator=generator, device=x.device)
        return x * (drawn[:, columns.part(features)] >= probability)
