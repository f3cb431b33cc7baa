"""The networks of the paper and of its authors' code, as lists of layers, and the options that change them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from ...shards import FreelightError
from .layers import (
    Activation,
    Convolution,
    Dropout,
    FullyConnected,
    Layer,
    Pooling,
    Sees,
)
from .normalization import CIFAR_11PCT_LRN, CIFAR_18PCT_NORM_WITHIN, PAPER_LRN, SOURCE_LRN, SOURCE_NORM_WITHIN

Architecture = Literal["alexnet", "half", "no-links", "cifar-19pct", "cifar-18pct", "cifar-13pct", "cifar-11pct"]
Normalization = Literal["paper", "source", "none"]
Conv1Order = Literal["relu-norm-pool", "norm-pool-relu"]
PoolingSize = Literal["3/2", "2/2"]
ActivationName = Literal["relu", "tanh"]

REMOVABLE = ("conv2", "conv3", "conv4", "conv5")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What decides the shape of a network; the number of classes comes with the data.

    architecture: `alexnet`; `half`, its one column on one GPU (paper section 5.1: conv5 and fc6, fc7 keep their size);
    `no-links`, two columns that meet in the last layer only (the 2012 code's #150, whose published count of parameters
    has fc6 of 4096 neurons a column and fc7 of 2048); or one of that code's nets for
    CIFAR-10. width: multiplies the maps and neurons of every layer but the last.

    Of the first three alone: normalization: `paper`, response normalisation with the paper's constants; `source`, with
    the 2012 code's (alpha divided by the 5 maps) and its second one, within maps, after that of conv2; `none`.
    conv1_order: of what follows conv1. pooling: window/stride. removed: convolutional layers left out, separated by
    commas. sixth_conv: one more, over the last pool. bottleneck: a linear layer of 1024 neurons a column below the last
    (the 2012 code's net for the 21,843 classes of Fall 2011). dropout: probability in fc6, fc7. upper_conv_std: of the
    initial weights of conv3, 4 and 5. initial_bias: of conv2, 4, 5, 6, fc6 and fc7.

    activation: `relu` or `tanh`; `normalization=none` takes the CIFAR nets' own out.
    """

    architecture: Architecture = "alexnet"
    width: float = 1.0
    activation: ActivationName = "relu"
    normalization: Normalization = "paper"
    conv1_order: Conv1Order = "relu-norm-pool"
    pooling: PoolingSize = "3/2"
    removed: str = ""
    sixth_conv: bool = False
    bottleneck: bool = False
    dropout: float = 0.5
    upper_conv_std: float = 0.01
    initial_bias: float = 1.0

    def __post_init__(self) -> None:
        for name, choices in (
            ("architecture", Architecture),
            ("activation", ActivationName),
            ("normalization", Normalization),
            ("conv1_order", Conv1Order),
            ("pooling", PoolingSize),
        ):
            if getattr(self, name) not in get_args(choices):
                raise FreelightError(f"{name} (={getattr(self, name)}) is not one of {', '.join(get_args(choices))}")
        if not 0 < self.width < math.inf:
            raise FreelightError(f"--width (={self.width}) must be positive")
        if not 0 <= self.dropout < 1:
            raise FreelightError(f"dropout (={self.dropout}) must lie in 0..1")
        if not 0 < self.upper_conv_std < math.inf:
            raise FreelightError(f"upper_conv_std (={self.upper_conv_std}) must be positive")
        if not math.isfinite(self.initial_bias):
            raise FreelightError(f"initial_bias (={self.initial_bias}) must be a number")
        for name in self.removed_layers:
            if name not in REMOVABLE:
                raise FreelightError(f"removed (={self.removed}) takes of {', '.join(REMOVABLE)}, separated by commas")
        if self.is_for_cifar:
            own = ("architecture", "width", "activation")
            changed = [f.name for f in fields(self) if f.name not in own and getattr(self, f.name) != f.default]
            if self.normalization == "none":
                changed.remove("normalization")
            if changed:
                raise FreelightError(f"{self.architecture} has no {changed[0]} to set (={getattr(self, changed[0])})")

    @property
    def is_for_cifar(self) -> bool:
        """Whether this is one of the 2012 code's nets for CIFAR-10."""
        return self.architecture.startswith("cifar")

    @property
    def columns(self) -> int:
        """How many columns the network has, and so the most GPUs that can hold it."""
        return 2 if self.architecture in ("alexnet", "no-links") else 1

    @property
    def removed_layers(self) -> tuple[str, ...]:
        """The names of the layers left out."""
        return tuple(name for name in self.removed.split(",") if name)

    def layers(self, *, width: float | None = None) -> tuple[Layer, ...]:
        """Return the network's layers. width: in place of its own."""
        scale = self.width if width is None else width
        return tuple(_cifar(self, scale) if self.is_for_cifar else _alexnet(self, scale))


def _alexnet(config: NetworkConfig, width: float) -> Iterator[Layer]:
    """Yield the layers of paper section 3.5, or of its variants."""
    half, linked = config.architecture == "half", config.architecture != "no-links"
    act = Activation(function=config.activation)
    pool = Pooling(window=int(config.pooling[0]), stride=int(config.pooling[2]))
    norm = {"paper": [PAPER_LRN], "source": [SOURCE_LRN], "none": []}[config.normalization]

    def conv(name: str, maps: int, kernel: int, sees: Sees, **more: Any) -> Convolution:
        return Convolution(name=name, maps=_scaled(maps, width), kernel=kernel, sees=sees, **more)

    def connected(name: str, neurons: int) -> tuple[Layer, ...]:
        layer = FullyConnected(
            name=name, neurons=_scaled(neurons, width), sees="all" if linked else "own", bias=config.initial_bias
        )
        return layer, act, Dropout(name=name, probability=config.dropout)

    yield conv("conv1", 48, 11, "image", stride=4, padding="ceil")
    yield from _row(act, *norm, pool) if config.conv1_order == "relu-norm-pool" else _row(*norm, pool, act)
    if "conv2" not in config.removed_layers:
        yield conv("conv2", 128 if linked else 160, 5, "own", padding=2, bias=config.initial_bias)
        yield from _row(act, *norm)
        if config.normalization == "source":
            yield SOURCE_NORM_WITHIN
    yield pool
    joins = linked  # whichever comes first of conv3 to conv5 sees both columns
    for name, maps in (("conv3", 192), ("conv4", 192), ("conv5", 256 if half else 128)):
        if name not in config.removed_layers:
            bias = 0.0 if name == "conv3" else config.initial_bias
            sees: Sees = "all" if joins else "own"
            yield conv(name, maps, 3, sees, padding=1, std=config.upper_conv_std, bias=bias)
            yield act
            joins = False
    yield pool
    if config.sixth_conv:
        sees = "all" if linked else "own"
        yield conv("conv6", 128, 3, sees, padding=1, std=0.03, bias=config.initial_bias)
        yield act
    yield from connected("fc6", 2048 if linked and not half else 4096)
    yield from connected("fc7", 4096 if half else 2048)
    if config.bottleneck:
        yield FullyConnected(name="bottleneck", neurons=_scaled(1024, width))
    yield FullyConnected(name="fc8", neurons=None)


def _cifar(config: NetworkConfig, width: float) -> Iterator[Layer]:
    """Yield the layers of the 2012 code's `layers-{19,18,13,11}pct.cfg`, which docs/design/paper.md section 7 lists."""
    act = Activation(function=config.activation)
    max_pool, average_pool = (Pooling(kind=kind, ceil=True) for kind in get_args(Literal["max", "average"]))
    kind = config.architecture.removeprefix("cifar-")
    normalized = config.normalization != "none"

    def conv(name: str, maps: int, kernel: int, std: float, **more: Any) -> Convolution:
        sees: Sees = "image" if name == "conv1" else "own"
        padding = kernel // 2
        return Convolution(
            name=name, maps=_scaled(maps, width), kernel=kernel, padding=padding, sees=sees, std=std, **more
        )

    if kind in ("19pct", "18pct"):
        norm = [CIFAR_18PCT_NORM_WITHIN] if kind == "18pct" and normalized else []
        yield from _row(conv("conv1", 32, 5, 1e-4), max_pool, act, *norm)
        yield from _row(conv("conv2", 32, 5, 0.01), act, average_pool, *norm)
        yield from _row(conv("conv3", 64, 5, 0.01), act, average_pool)
    else:
        norms = [CIFAR_11PCT_LRN] if kind == "11pct" and normalized else []
        yield from _row(conv("conv1", 64, 5, 1e-4), act, max_pool, *norms)
        yield from _row(conv("conv2", 64, 5, 0.01), act, *norms, max_pool)
        yield from _row(conv("local3", 64 if kind == "11pct" else 32, 3, 0.04, local=True), act)
        yield from _row(conv("local4", 32, 3, 0.04, local=True), act)
    yield FullyConnected(name="fc10", neurons=None)


def _row(*layers: Layer) -> tuple[Layer, ...]:
    return layers


def _scaled(maps: int, width: float) -> int:
    return max(1, round(maps * width))
