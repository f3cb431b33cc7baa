"""Short binary codes of feature vectors, by an auto-encoder (suggested at the end of the paper's section 6.1).

The encoder has a hidden layer and one output unit per bit; the decoder mirrors it. A bit is the sign of its unit. In
training a unit is the tanh of a sum with noise, which drives the sums away from 0, where the sign is least certain.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils import skip_init

from ...shards import FreelightError
from ...shards.base import check_fields
from ..network.random_streams import generator_for

Vectors = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]

CHUNK = 16_384
"""Rows of the vectors per chunk."""


@dataclass(frozen=True, kw_only=True)
class CodeConfig:
    """bits: length of a code, a multiple of 8. hidden: units of each hidden layer. noise: standard deviation of the
    noise on the code units' sums. steps: of training, each on `batch_size` rows drawn at random. learning_rate: of Adam
    at the start; it falls to 0 along a cosine.
    """

    bits: int = 64
    hidden: int = 512
    noise: float = 0.5
    steps: int = 1000
    batch_size: int = 256
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.bits < 8 or self.bits % 8:
            raise FreelightError(f"`bits` (={self.bits}) must be a multiple of 8")


class AutoEncoder(nn.Module):
    """Vectors (n, d) -> codes, and back. The vectors are first standardised by `mean` (d,) and one scalar `scale`."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, features: int, config: CodeConfig) -> None:
        super().__init__()
        self.config = config
        linear = functools.partial(skip_init, nn.Linear)  # nn.Linear would draw weights from torch's global generator
        self.encoder = nn.Sequential(linear(features, config.hidden), nn.ReLU(), linear(config.hidden, config.bits))
        self.decoder = nn.Sequential(linear(config.bits, config.hidden), nn.ReLU(), linear(config.hidden, features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(()))
        generator = generator_for("cpu", config.seed, "codes")
        with torch.no_grad():
            for layer in (*self.encoder, *self.decoder):
                if isinstance(layer, nn.Linear):
                    layer.weight.normal_(0, layer.in_features**-0.5, generator=generator)
                    layer.bias.zero_()

    def standardize(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return vectors of mean 0 in each feature, and of mean square 1 over all features together."""
        return (vectors - self.mean) / self.scale

    def forward(self, vectors: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the reconstruction. noise: (n, bits), added to the code units' sums."""
        target = self.standardize(vectors)
        units = torch.tanh(self.encoder(target) + noise)
        error: torch.Tensor = (self.decoder(units) - target).square().mean()
        return error

    @torch.no_grad()
    def encode(self, vectors: Vectors) -> Codes:
        """Return the codes of vectors (n, d): uint8 (n, bits / 8)."""
        return np.concatenate(
            [np.packbits(self.encoder(self.standardize(part)) > 0, axis=1) for part in _parts(vectors)]
        )


def train_codes(vectors: Vectors, config: CodeConfig) -> AutoEncoder:
    """Train an auto-encoder on vectors (n, d). On one machine, the same seed gives the same one."""
    network = AutoEncoder(vectors.shape[1], config)
    total, squares = np.zeros(vectors.shape[1]), 0.0
    for part in _parts(vectors):
        total += part.sum(dim=0, dtype=torch.float64).numpy()
    network.mean.copy_(torch.from_numpy(total / len(vectors)))
    for part in _parts(vectors):
        squares += float((part - network.mean).square().sum(dtype=torch.float64))
    network.scale.fill_((squares / vectors.size) ** 0.5 or 1.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    rng = np.random.default_rng(config.seed)
    generator = generator_for("cpu", config.seed, "noise")
    for _ in range(config.steps):
        rows = np.sort(rng.integers(len(vectors), size=min(config.batch_size, len(vectors))))
        batch = torch.from_numpy(np.asarray(vectors[rows]))
        noise = torch.randn((len(batch), config.bits), generator=generator) * config.noise
        optimizer.zero_grad()
        network(batch, noise).backward()
        optimizer.step()
        schedule.step()
    return network


def _parts(vectors: Vectors) -> Iterator[torch.Tensor]:
    for first in range(0, len(vectors), CHUNK):
        yield torch.from_numpy(np.array(vectors[first : first + CHUNK]))
