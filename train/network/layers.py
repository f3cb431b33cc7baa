"""What a network consists of, layer by layer: descriptions, which `network.py` builds and `describe.py` lists.

Maps and neurons are those of one column. A network's columns are alike; where they meet, a layer sees all of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ...shards import FreelightError

Sees = Literal["image", "own", "all"]
"""What a layer's inputs are: the image; the maps of its own column; or those of all columns."""


class Shape(NamedTuple):
    """The activations of one column: so many maps of side x side pixels (or neurons, at side 1)."""

    maps: int
    side: int


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """maps: that come out. padding: pixels on every side, or `ceil`: zeros on the right and bottom only.

    The latter is the 2012 code's ceiling division: as few zeros as leave no pixel over. local: other weights at every
    place ("locally connected"). std, bias: of the initial weights, normal around 0, and of the biases.
    """

    name: str
    maps: int
    kernel: int
    stride: int = 1
    padding: int | Literal["ceil"] = 0
    sees: Sees = "own"
    local: bool = False
    std: float = 0.01
    bias: float = 0.0

    def inputs(self, shape: Shape, columns: int) -> int:
        """Return how many maps of inputs of `shape`, in so many columns, each output sees."""
        return shape.maps * (columns if self.sees == "all" else 1)

    def fan_in(self, shape: Shape, columns: int) -> int:
        """Return the weights of each output."""
        return self.inputs(shape, columns) * self.kernel**2

    def border(self, side: int) -> tuple[int, int]:
        """Return the zeros to the left (and above) and to the right (and below) of a map of so many pixels."""
        if self.padding == "ceil":
            return 0, math.ceil((side - self.kernel) / self.stride) * self.stride + self.kernel - side
        return self.padding, self.padding

    def output(self, shape: Shape) -> Shape:
        """Return the shape that comes out for one that goes in."""
        return Shape(self.maps, (shape.side + sum(self.border(shape.side)) - self.kernel) // self.stride + 1)


@dataclass(frozen=True, kw_only=True)
class FullyConnected:
    """neurons: that come out; None: one a class, of which the columns have a part each. std, bias: as above."""

    name: str
    neurons: int | None
    sees: Sees = "all"
    std: float = 0.01
    bias: float = 0.0

    def fan_in(self, shape: Shape, columns: int) -> int:
        """Return the weights of each output, for inputs of `shape` in so many columns."""
        return shape.maps * shape.side**2 * (columns if self.sees == "all" else 1)

    def output(self, shape: Shape) -> Shape:
        """Return the shape that comes out for one that goes in; no neurons where they are the classes."""
        return Shape(self.neurons or 0, 1)


class _KeepsShape:
    """A layer whose outputs have the shape of its inputs."""

    def output(self, shape: Shape) -> Shape:
        """Return the shape that comes out for one that goes in."""
        return shape


@dataclass(frozen=True, kw_only=True)
class Activation(_KeepsShape):
    """function: `relu` or `tanh`."""

    function: Literal["relu", "tanh"]


@dataclass(frozen=True, kw_only=True)
class NormalizeAcross(_KeepsShape):
    """Response normalisation across so many neighbouring maps (paper section 3.3): a / (k + alpha sum a**2)**0.75."""

    maps: int
    k: float
    alpha: float


@dataclass(frozen=True, kw_only=True)
class NormalizeWithin(_KeepsShape):
    """Response normalisation over a square window within each map: a / (1 + alpha sum a**2)**0.75."""

    window: int
    alpha: float


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """kind: `max` or `average`, of a window x window square. ceil: a last window that juts out counts too."""

    kind: Literal["max", "average"] = "max"
    window: int = 3
    stride: int = 2
    ceil: bool = False

    def output(self, shape: Shape) -> Shape:
        """Return the shape that comes out for one that goes in."""
        steps = (shape.side - self.window) / self.stride
        return Shape(shape.maps, (math.ceil(steps) if self.ceil else math.floor(steps)) + 1)


@dataclass(frozen=True, kw_only=True)
class Dropout(_KeepsShape):
    """name: of the layer whose activations are masked. probability: of being zeroed, in training."""

    name: str
    probability: float


Layer = Convolution | FullyConnected | Activation | NormalizeAcross | NormalizeWithin | Pooling | Dropout


def input_shapes(layers: Sequence[Layer], crop: int) -> list[Shape]:
    """Return the shape that goes into each layer, for RGB images of crop x crop pixels.

    Raises `FreelightError` when the images are too small for the network.
    """
    shapes = [Shape(3, crop)]
    for layer in layers:
        shapes.append(layer.output(shapes[-1]))
        if shapes[-1].side < 1:
            raise FreelightError(f"crops of {crop} pixels are too small for the network; make crop_size larger")
    return shapes[:-1]
