"""Short binary codes of feature vectors, by an auto-encoder (the paper's closing remark in section 6.1).

The encoder is a hidden layer and one unit a bit; the decoder mirrors it. A bit is the sign of its unit. In training the
units are tanh of a noisy sum, so that they learn to keep away from 0, where the sign would lose most.
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
from ..network.random_streams import generator_for

Vectors = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]

CHUNK = 16_384


@dataclass(frozen=True, kw_only=True)
class CodeConfig:
    """bits: of a code, a multiple of 8. hidden: units of the hidden layers. noise: added to the units' sums, standard
    deviation. steps of batch_size rows, drawn anew each; learning_rate: of Adam, falling to 0 along a cosine.
    """

    bits: int = 64
    hidden: int = 512
    noise: float = 0.5
    steps: int = 1000
    batch_size: int = 256
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bits < 8 or self.bits % 8:
            raise FreelightError(f"--bits (={self.bits}) must be a multiple of 8")


class AutoEncoder(nn.Module):
    """Vectors (n, d) -> codes, and back. It standardises by one scale: `middle` (d,) and `spread`, of the training."""

    middle: torch.Tensor
    spread: torch.Tensor

    def __init__(self, features: int, config: CodeConfig) -> None:
        super().__init__()
        self.config = config
        linear = functools.partial(skip_init, nn.Linear)  # its own weights would be drawn from torch's generator
        self.encoder = nn.Sequential(linear(features, config.hidden), nn.ReLU(), linear(config.hidden, config.bits))
        self.decoder = nn.Sequential(linear(config.bits, config.hidden), nn.ReLU(), linear(config.hidden, features))
        self.register_buffer("middle", torch.zeros(features))
        self.register_buffer("spread", torch.ones(()))
        generator = generator_for("cpu", config.seed, "codes")
        with torch.no_grad():
            for layer in (*self.encoder, *self.decoder):
                if isinstance(layer, nn.Linear):
                    layer.weight.normal_(0, layer.in_features**-0.5, generator=generator)
                    layer.bias.zero_()

    def standardize(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return vectors of mean 0 and of mean square 1 over all features together."""
        return (vectors - self.middle) / self.spread

    def forward(self, vectors: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the standardised vectors' reconstruction through noisy units (n, bits)."""
        wanted = self.standardize(vectors)
        units = torch.tanh(self.encoder(wanted) + noise)
        error: torch.Tensor = (self.decoder(units) - wanted).square().mean()
        return error

    @torch.no_grad()
    def encode(self, vectors: Vectors) -> Codes:
        """Return the codes (n, bits / 8) of vectors (n, d), in chunks."""
        return np.concatenate(
            [np.packbits(self.encoder(self.standardize(part)) > 0, axis=1) for part in _parts(vectors)]
        )


def train_codes(vectors: Vectors, config: CodeConfig) -> AutoEncoder:
    """Return an auto-encoder of these vectors (n, d); the same one for the same seed, on the same machine."""
    network = AutoEncoder(vectors.shape[1], config)
    total, squares = np.zeros(vectors.shape[1]), 0.0
    for part in _parts(vectors):
        total += part.sum(dim=0, dtype=torch.float64).numpy()
    network.middle.copy_(torch.from_numpy(total / len(vectors)))
    for part in _parts(vectors):
        squares += float((part - network.middle).square().sum(dtype=torch.float64))
    network.spread.fill_((squares / vectors.size) ** 0.5 or 1.0)
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
