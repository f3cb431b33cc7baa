"""Descriptions of the layers that a network consists of; `network.py` builds from them, `describe.py` lists them.

Numbers of maps and neurons are those of one column. All columns of a network have the same layers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ...shards import FreelightError

InputColumns = Literal["image", "own", "all"]
"""Where a layer's inputs come from: the image, its own column, or all columns."""


class Shape(NamedTuple):
    """The activations of one column: `maps` of side x side pixels, or neurons, whose side is 1."""

    maps: int
    side: int


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A convolution, or a locally connected layer.

    maps: of the output. padding: zeros on every side, pixels; or `ceil`, the 2012 code's ceiling division: on the right
    and bottom only, as few zeros as give every pixel to a window. local: different weights at every position. std: of
    the initial weights, which are normal around 0. bias: initial value of the biases.
    """

    name: str
    maps: int
    kernel: int
    stride: int = 1
    padding: int | Literal["ceil"] = 0
    input_columns: InputColumns = "own"
    local: bool = False
    std: float = 0.01
    bias: float = 0.0

    def input_maps(self, shape: Shape, columns: int) -> int:
        """Return the number of maps that each output is computed from; shape: of one column's input."""
        return shape.maps * (columns if self.input_columns == "all" else 1)

    def fan_in(self, shape: Shape, columns: int) -> int:
        """Return the number of weights per output."""
        return self.input_maps(shape, columns) * self.kernel**2

    def padding_for(self, side: int) -> tuple[int, int]:
        """Return the zeros to the left (and above) and to the right (and below) of a map of `side` pixels."""
        if self.padding == "ceil":
            return 0, math.ceil((side - self.kernel) / self.stride) * self.stride + self.kernel - side
        return self.padding, self.padding

    def output(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of `shape`."""
        return Shape(self.maps, (shape.side + sum(self.padding_for(shape.side)) - self.kernel) // self.stride + 1)


@dataclass(frozen=True, kw_only=True)
class FullyConnected:
    """A fully connected layer.

    neurons: of the output; None: one per class, divided among the columns. std, bias: as in `Convolution`.
    """

    name: str
    neurons: int | None
    input_columns: InputColumns = "all"
    std: float = 0.01
    bias: float = 0.0

    def fan_in(self, shape: Shape, columns: int) -> int:
        """Return the number of weights per output; shape: of one column's input."""
        return shape.maps * shape.side**2 * (columns if self.input_columns == "all" else 1)

    def output(self, shape: Shape) -> Shape:
        """Return the shape of the output; 0 neurons if they are the classes, whose number is not known here."""
        return Shape(self.neurons or 0, 1)


class _KeepsShape:
    """A layer whose output has the shape of its input."""

    def output(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of `shape`."""
        return shape


@dataclass(frozen=True, kw_only=True)
class Activation(_KeepsShape):
    """function: `relu` or `tanh`."""

    function: Literal["relu", "tanh"]


@dataclass(frozen=True, kw_only=True)
class NormalizeAcross(_KeepsShape):
    """Response normalisation over `maps` neighbouring maps (paper section 3.3): a / (k + alpha sum a**2)**0.75."""

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
    """kind: `max` or `average` over a window x window square. ceil: a last window that is partly outside counts too."""

    kind: Literal["max", "average"] = "max"
    window: int = 3
    stride: int = 2
    ceil: bool = False

    def output(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of `shape`."""
        steps = (shape.side - self.window) / self.stride
        return Shape(shape.maps, (math.ceil(steps) if self.ceil else math.floor(steps)) + 1)


@dataclass(frozen=True, kw_only=True)
class Dropout(_KeepsShape):
    """name: of the layer whose activations are masked. probability: that training sets an activation to zero."""

    name: str
    probability: float


Layer = Convolution | FullyConnected | Activation | NormalizeAcross | NormalizeWithin | Pooling | Dropout


def input_shapes(layers: Sequence[Layer], crop: int) -> list[Shape]:
    """Return the input shape of each layer, for RGB images of crop x crop pixels.

    Raises `FreelightError` if the images are too small for the network.
    """
    shapes = [Shape(3, crop)]
    for layer in layers:
        shapes.append(layer.output(shapes[-1]))
        if shapes[-1].side < 1:
            raise FreelightError(f"`crop_size` (={crop}) is too small for the network; make it larger")
    return shapes[:-1]
