"""The networks of the paper and of its authors' 2012 code, as lists of layers, and the options that change them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

from ...shards import FreelightError
from ...shards.base import check_fields, setting
from .layers import (
    Activation,
    Convolution,
    Dropout,
    FullyConnected,
    InputColumns,
    Layer,
    Pooling,
)
from .normalization import CIFAR_11PCT_LRN, CIFAR_18PCT_NORM_WITHIN, PAPER_LRN, SOURCE_LRN, SOURCE_NORM_WITHIN

Architecture = Literal["alexnet", "half", "no-links", "cifar-19pct", "cifar-18pct", "cifar-13pct", "cifar-11pct"]
Normalization = Literal["paper", "source", "none"]
Conv1Order = Literal["relu-norm-pool", "norm-pool-relu"]
PoolingSize = Literal["3/2", "2/2"]
ActivationName = Literal["relu", "tanh"]

MAX_WIDTH = 100
"""Limit: a wider network is a mistake, or a hostile checkpoint, and would take the machine's memory."""
REMOVABLE = ("conv2", "conv3", "conv4", "conv5")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The options that decide a network's layers. The number of classes comes with the data.

    architecture: `alexnet`; `half`, one column on one GPU (paper section 5.1: conv5, fc6 and fc7 keep the size that
    they have in two columns); `no-links`, two columns that are connected in the last layer only (the 2012 code's #150:
    4096 neurons per column in fc6 and 2048 in fc7, by its published number of parameters); or one of that code's
    networks for CIFAR-10. normalization: `source` divides alpha by the 5 maps, and has a second normalisation, within
    maps, after that of conv2; the CIFAR-10 networks have their own, which `none` removes. bottleneck: as in the 2012
    code's network for the 21,843 classes of Fall 2011. The meaning of each option stands beside its default; the
    CIFAR-10 networks have only the first four.
    """

    architecture: Architecture = setting("alexnet", "network of the paper, a variant, or a 2012 network for CIFAR-10")
    width: float = setting(1.0, "factor on the maps and neurons of every layer but the last")
    activation: ActivationName = setting("relu", "function after each layer with weights but the last")
    normalization: Normalization = setting("paper", "response normalisation: the paper's, the 2012 code's, or none")
    conv1_order: Conv1Order = setting("relu-norm-pool", "of the layers after conv1")
    pooling: PoolingSize = setting("3/2", "window/stride of the pooling, pixels")
    removed: str = setting("", "convolutions to leave out, of conv2, conv3, conv4, conv5, separated by commas")
    sixth_conv: bool = setting(False, "adds a convolution after the last pooling")
    bottleneck: bool = setting(False, "adds a linear layer of 1024 neurons per column before the last")
    dropout: float = setting(0.5, "probability in fc6 and fc7")
    upper_conv_std: float = setting(0.01, "standard deviation of the initial weights of conv3, conv4 and conv5")
    initial_bias: float = setting(1.0, "initial bias of conv2, conv4, conv5, conv6, fc6 and fc7; 0 elsewhere")

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.width <= MAX_WIDTH:
            raise FreelightError(f"`width` (={self.width}) must be positive, and at most {MAX_WIDTH}")
        if not 0 <= self.dropout < 1:
            raise FreelightError(f"`dropout` (={self.dropout}) must be at least 0 and less than 1")
        if not 0 < self.upper_conv_std < math.inf:
            raise FreelightError(f"`upper_conv_std` (={self.upper_conv_std}) must be positive")
        if not math.isfinite(self.initial_bias):
            raise FreelightError(f"`initial_bias` (={self.initial_bias}) must be finite")
        for name in self.removed_layers:
            if name not in REMOVABLE:
                raise FreelightError(
                    f"`removed` (={self.removed!r}) must name layers of {', '.join(REMOVABLE)}, separated by commas"
                )
        if self.is_for_cifar:
            own = ("architecture", "width", "activation")
            changed = [f.name for f in fields(self) if f.name not in own and getattr(self, f.name) != f.default]
            if self.normalization == "none":
                changed.remove("normalization")
            if changed:
                raise FreelightError(
                    f"`{changed[0]}` (={getattr(self, changed[0])}) cannot be set for the architecture "
                    f"{self.architecture}"
                )

    @property
    def is_for_cifar(self) -> bool:
        """Whether this is one of the 2012 code's networks for CIFAR-10."""
        return self.architecture.startswith("cifar")

    @property
    def columns(self) -> int:
        """The number of columns, which is also the largest number of processes that can hold the network."""
        return 2 if self.architecture in ("alexnet", "no-links") else 1

    @property
    def removed_layers(self) -> tuple[str, ...]:
        """The names of the layers that are left out."""
        return tuple(name for name in self.removed.split(",") if name)

    def layers(self, *, width: float | None = None) -> tuple[Layer, ...]:
        """Return the network's layers. width: instead of the configured one."""
        scale = self.width if width is None else width
        return tuple(_cifar(self, scale) if self.is_for_cifar else _alexnet(self, scale))


def _alexnet(config: NetworkConfig, width: float) -> Iterator[Layer]:
    """Yield the layers of the network in paper section 3.5, or of a variant."""
    half, linked = config.architecture == "half", config.architecture != "no-links"
    act = Activation(function=config.activation)
    window, stride = map(int, config.pooling.split("/"))
    pool = Pooling(window=window, stride=stride)
    norm = {"paper": [PAPER_LRN], "source": [SOURCE_LRN], "none": []}[config.normalization]

    def conv(name: str, maps: int, kernel: int, inputs: InputColumns, **more: Any) -> Convolution:
        return Convolution(name=name, maps=_scaled(maps, width), kernel=kernel, input_columns=inputs, **more)

    def connected(name: str, neurons: int) -> tuple[Layer, ...]:
        layer = FullyConnected(
            name=name,
            neurons=_scaled(neurons, width),
            input_columns="all" if linked else "own",
            bias=config.initial_bias,
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
    joins = linked  # the first of conv3 to conv5 that is left takes its inputs from all columns
    for name, maps in (("conv3", 192), ("conv4", 192), ("conv5", 256 if half else 128)):
        if name not in config.removed_layers:
            bias = 0.0 if name == "conv3" else config.initial_bias
            inputs: InputColumns = "all" if joins else "own"
            yield conv(name, maps, 3, inputs, padding=1, std=config.upper_conv_std, bias=bias)
            yield act
            joins = False
    yield pool
    if config.sixth_conv:
        inputs = "all" if linked else "own"
        yield conv("conv6", 128, 3, inputs, padding=1, std=0.03, bias=config.initial_bias)
        yield act
    yield from connected("fc6", 2048 if linked and not half else 4096)
    yield from connected("fc7", 4096 if half else 2048)
    if config.bottleneck:
        yield FullyConnected(name="bottleneck", neurons=_scaled(1024, width))
    yield FullyConnected(name="fc8", neurons=None)


def _cifar(config: NetworkConfig, width: float) -> Iterator[Layer]:
    """Yield the layers of the 2012 code's `layers-{19,18,13,11}pct.cfg`, which docs/design/paper.md section 7 lists."""
    act = Activation(function=config.activation)
    max_pool, average_pool = Pooling(kind="max", ceil=True), Pooling(kind="average", ceil=True)
    kind = config.architecture.removeprefix("cifar-")
    normalized = config.normalization != "none"

    def conv(name: str, maps: int, kernel: int, std: float, **more: Any) -> Convolution:
        return Convolution(
            name=name,
            maps=_scaled(maps, width),
            kernel=kernel,
            padding=kernel // 2,
            input_columns="image" if name == "conv1" else "own",
            std=std,
            **more,
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
