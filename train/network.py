"""AlexNet (paper section 3.5), written once, as columns: grouped in one process, or one column in each of two."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ..shards import FreelightError
from .columns import COLUMNS, Columns, part_sizes
from .dropout import DropoutMasks
from .normalization import ResponseNorm

# Inputs of each output of a layer at width 1.
FAN_IN = {
    "conv1": 3 * 11 * 11,
    "conv2": 48 * 5 * 5,
    "conv3": 256 * 3 * 3,
    "conv4": 192 * 3 * 3,
    "conv5": 192 * 3 * 3,
    "fc6": 256 * 6 * 6,
    "fc7": 4096,
    "fc8": 4096,
}


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What decides the shape of the network.

    classes: of the last layer. width: multiplies the maps and neurons of every layer but the last. dropout:
    probability in fc6 and fc7.
    """

    classes: int
    width: float = 1.0
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise FreelightError(f"the network needs at least 2 classes, the data has {self.classes}")
        if not 0 < self.width < math.inf:
            raise FreelightError(f"--width (={self.width}) must be positive")
        if not 0 <= self.dropout < 1:
            raise FreelightError(f"dropout (={self.dropout}) must lie in 0..1")

    def scaled(self, maps: int) -> int:
        """Return the maps of one column of a layer that has `maps` at width 1."""
        return max(1, round(maps * self.width))


class AlexNet(nn.Module):
    """The network: 224x224 RGB pixels in 0-255 units, less the mean, (N, 3, 224, 224) -> logits (N, classes).

    columns: what this process holds. A parameter of one column is its part along dimension 0 of the whole net's, so
    `whole` and `load_whole` speak of one logical network, whatever holds it. seed: of the weights.
    """

    def __init__(self, config: NetworkConfig, columns: Columns = Columns(), *, seed: int = 0) -> None:  # noqa: B008
        super().__init__()
        self.config = config
        self.columns = columns
        c1, c2, c3, c4, c5, fc = (config.scaled(maps) for maps in (48, 128, 192, 192, 128, 2048))
        held = columns.held
        # "Own" layers see their own column's maps only; the others see both columns'.
        self.conv1 = nn.Conv2d(3, c1 * held, 11, stride=4)
        self.conv2 = nn.Conv2d(c1 * held, c2 * held, 5, padding=2, groups=held)
        self.conv3 = nn.Conv2d(c2 * COLUMNS, c3 * held, 3, padding=1)
        self.conv4 = nn.Conv2d(c3 * held, c4 * held, 3, padding=1, groups=held)
        self.conv5 = nn.Conv2d(c4 * held, c5 * held, 3, padding=1, groups=held)
        self.fc6 = nn.Linear(c5 * COLUMNS * 6 * 6, fc * held)
        self.fc7 = nn.Linear(fc * COLUMNS, fc * held)
        self.fc8 = nn.Linear(fc * COLUMNS, part_sizes(config.classes, columns.processes)[columns.rank])
        self.norm = ResponseNorm(held)
        self._initialize(seed)

    def forward(self, images: torch.Tensor, masks: DropoutMasks | None = None) -> torch.Tensor:
        """Return the logits; with `masks` as in training, without as at test."""
        join = self.columns.join
        # 55 outputs: 224 padded by 3 on the right and bottom only (the 2012 code's ceiling division).
        x = F.relu(self.conv1(F.pad(images, (0, 3, 0, 3))))
        x = F.max_pool2d(self.norm(x), 3, 2)
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(self.norm(x), 3, 2)
        x = F.relu(self.conv3(join(x)))
        x = F.relu(self.conv4(x))
        x = F.max_pool2d(F.relu(self.conv5(x)), 3, 2)
        x = self._drop(F.relu(self.fc6(join(x).flatten(1))), "fc6", masks)
        x = self._drop(F.relu(self.fc7(join(x))), "fc7", masks)
        return self.columns.join_logits(self.fc8(join(x)), self.config.classes)

    def _drop(self, x: torch.Tensor, layer: str, masks: DropoutMasks | None) -> torch.Tensor:
        if masks is None:
            return x * (1 - self.config.dropout)
        return masks.apply(x, layer, self.config.dropout, self.columns)

    @torch.no_grad()
    def _initialize(self, seed: int) -> None:
        """Draw weights from N(0, 0.01), biases 1 in conv2, 4, 5, fc6, fc7 and 0 elsewhere (paper section 5).

        With a width below 1 the standard deviation is `0.01 * sqrt(fan-in at width 1 / fan-in)`, so that sums keep
        the size they have in the full net. Each column draws the whole parameter and keeps its part.
        """
        for index, (name, layer) in enumerate(self.named_children()):
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                continue
            assert layer.bias is not None
            rows = self.whole_rows(f"{name}.weight")
            deviation = 0.01 * math.sqrt(FAN_IN[name] / layer.weight[0].numel())
            generator = torch.Generator().manual_seed(seed * 100 + index)
            drawn = torch.empty((rows, *layer.weight.shape[1:])).normal_(0, deviation, generator=generator)
            layer.weight.copy_(drawn[self.columns.part(rows)])
            layer.bias.fill_(float(name in ("conv2", "conv4", "conv5", "fc6", "fc7")))

    def whole_rows(self, name: str) -> int:
        """Return the rows (dimension 0) of a parameter in the whole network."""
        if name.startswith("fc8."):
            return self.config.classes
        return self.get_parameter(name).shape[0] * self.columns.processes

    def whole(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Turn tensors of the parameters' names and shapes into the whole network's, on the CPU (a collective)."""
        return {
            name: self.columns.gather_rows(tensor.detach(), self.whole_rows(name)).cpu()
            for name, tensor in tensors.items()
        }

    def part(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """Return this process's part of a parameter (or of its velocity) of the whole network."""
        return whole[self.columns.part(self.whole_rows(name))]

    @torch.no_grad()
    def load_whole(self, weights: dict[str, torch.Tensor]) -> None:
        """Load the whole network's weights, of which this process keeps its part."""
        for name, parameter in self.named_parameters():
            parameter.copy_(self.part(name, weights[name]))
