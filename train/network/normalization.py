"""Response normalisation, across neighbouring maps (paper section 3.3) or within a map (the 2012 code).

Both are `b = a / s**0.75` with `s = k + alpha * window(a**2)`, where `window` sums over a neighbourhood of each pixel
and is its own transpose. So if g is the gradient of b, the gradient of a is
`g / s**0.75 - 1.5 alpha a window(g a / s**1.75)`. The formula is split into three stages, which `torch.compile` fuses:
they are then 3 to 5 times as fast.
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import nn

from ..parallel.columns import is_channels_last
from .layers import NormalizeAcross, NormalizeWithin

PAPER_LRN = NormalizeAcross(maps=5, k=2.0, alpha=1e-4)
SOURCE_LRN = NormalizeAcross(maps=5, k=2.0, alpha=1e-4 / 5)
"""The 2012 code divides alpha by the number of maps; the paper does not."""
SOURCE_NORM_WITHIN = NormalizeWithin(window=5, alpha=4e-5)
CIFAR_11PCT_LRN = NormalizeAcross(maps=9, k=1.0, alpha=0.001 / 9)
CIFAR_18PCT_NORM_WITHIN = NormalizeWithin(window=3, alpha=5e-5 / 9)


def sum_across(x: torch.Tensor, maps: int) -> torch.Tensor:
    """Sum (N, columns, C, H, W) over the `maps` maps around each map of a column; maps outside count as zero."""
    return _sum_along(2, x, maps)


def sum_across_last(x: torch.Tensor, maps: int) -> torch.Tensor:
    """Do the same for (N, H, W, columns, C): for activations that are channels-last in memory."""
    return _sum_along(4, x, maps)


def _sum_along(axis: int, x: torch.Tensor, maps: int) -> torch.Tensor:
    padded = F.pad(x, (0, 0) * (x.ndim - 1 - axis) + (maps // 2, maps // 2))
    total = padded.narrow(axis, 0, x.shape[axis]).clone()
    for offset in range(1, maps):
        total += padded.narrow(axis, offset, x.shape[axis])
    return total


def sum_within(x: torch.Tensor, window: int) -> torch.Tensor:
    """Sum (N, C, H, W) over the square window around each pixel; pixels outside count as zero."""
    return F.avg_pool2d(x, window, stride=1, padding=window // 2, divisor_override=1)


def _power(s: torch.Tensor) -> torch.Tensor:
    root = s.rsqrt()
    return root.sqrt().mul_(root)  # s**-0.75


def _normalize(
    a: torch.Tensor, window: Callable[..., torch.Tensor], size: int, k: float, alpha: float
) -> tuple[torch.Tensor, torch.Tensor]:
    s = window(a * a, size).mul_(alpha).add_(k)
    return _power(s).mul_(a), s


def _shared(gradient: torch.Tensor, a: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    return _power(s).mul_(gradient).mul_(a).div_(s)


def _gradient(
    gradient: torch.Tensor,
    a: torch.Tensor,
    s: torch.Tensor,
    shared: torch.Tensor,
    window: Callable[..., torch.Tensor],
    size: int,
    alpha: float,
) -> torch.Tensor:
    return _power(s).mul_(gradient).sub_(window(shared, size).mul_(a).mul_(1.5 * alpha))


@dataclass(frozen=True)
class Stages:
    """The three stages of the formula, plain or compiled."""

    normalize: Callable[..., tuple[torch.Tensor, torch.Tensor]] = _normalize
    shared: Callable[..., torch.Tensor] = _shared
    gradient: Callable[..., torch.Tensor] = _gradient


EAGER = Stages()


@functools.cache
def compiled(device: str, window: Callable[..., torch.Tensor], columns: int, gradients: bool) -> Stages:
    """Return the stages compiled for `cpu` or `cuda`; without a compiler log a warning and return `EAGER`.

    The first call compiles for this window and number of columns, which takes 8 s; without `gradients`, only the first
    stage, which training and evaluation share. `torch.compile` needs a C++ compiler on the CPU.
    """
    # One compilation for every shape: the last batch is short, and the layers differ. Torch would compile anew for axes
    # that were equally long at first, arguments that were one tensor, and with gradients: see `_Normalization`.
    stages = Stages(
        normalize=torch.compile(_normalize, dynamic=True),
        shared=torch.compile(_shared, dynamic=True),
        gradient=torch.compile(_gradient, dynamic=True),
    )
    shapes = {sum_across: (4, columns, 6, 3, 3), sum_across_last: (4, 3, 3, columns, 6), sum_within: (4, 6, 3, 3)}
    tried = torch.ones(shapes[window], device=device)
    try:
        with torch.no_grad():
            b, s = stages.normalize(tried, window, 5, 2.0, 1e-4)
            if gradients:
                stages.gradient(b, tried, s, stages.shared(b, tried, s), window, 5, 1e-4)
    except Exception as error:  # no fault of a compiler may end a run
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        logging.getLogger(__name__).warning("response normalisation is not compiled and will be slower: %s", reason)
        return EAGER
    return stages


class _Normalization(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        a: torch.Tensor,
        window: Callable[..., torch.Tensor],
        size: int,
        k: float,
        alpha: float,
        stages: Stages,
    ) -> torch.Tensor:
        b, s = stages.normalize(a.detach(), window, size, k, alpha)  # as in evaluation, and compiled for both
        ctx.save_for_backward(a, s)
        ctx.window, ctx.size, ctx.alpha, ctx.stages = window, size, alpha, stages
        return b

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        a, s = (saved.detach() for saved in ctx.saved_tensors)
        shared = ctx.stages.shared(gradient, a, s)
        result = ctx.stages.gradient(gradient, a, s, shared, ctx.window, ctx.size, ctx.alpha)
        return result, None, None, None, None, None


def normalize(
    a: torch.Tensor, window: str, size: int, k: float, alpha: float, columns: int = 1, compile_: bool = False
) -> torch.Tensor:
    """Normalise (N, C, H, W) activations; return the same shape.

    window: `across`, over `size` neighbouring maps of the same of `columns` columns; or `within`, over a square of
    `size` pixels within each map. Sums of squares of 16-bit activations are float32; under autocast the result is too.
    The result has the memory order of `a`.
    """
    exact = a.float() if a.dtype in (torch.bfloat16, torch.float16) else a
    if window == "within":
        b = _normalized(exact, sum_within, size, k, alpha, columns, compile_)
    elif is_channels_last(a):
        apart = exact.permute(0, 2, 3, 1).unflatten(3, (columns, -1))  # type: ignore[no-untyped-call]
        b = _normalized(apart, sum_across_last, size, k, alpha, columns, compile_).flatten(3).permute(0, 3, 1, 2)
    else:
        apart = exact.unflatten(1, (columns, -1))  # type: ignore[no-untyped-call]
        b = _normalized(apart, sum_across, size, k, alpha, columns, compile_).flatten(1, 2)
    if exact is not a and not torch.is_autocast_enabled(a.device.type):
        b = b.to(a.dtype)
    return b


def _normalized(
    a: torch.Tensor,
    window: Callable[..., torch.Tensor],
    size: int,
    k: float,
    alpha: float,
    columns: int,
    compile_: bool,
) -> torch.Tensor:
    gradients = torch.is_grad_enabled()
    # Torch would compile anew for a single image.
    stages = compiled(a.device.type, window, columns, gradients) if compile_ and len(a) > 1 else EAGER
    if gradients:
        b: torch.Tensor = _Normalization.apply(a, window, size, k, alpha, stages)  # type: ignore[no-untyped-call]
        return b
    return stages.normalize(a, window, size, k, alpha)[0]


torch.fx.wrap("normalize")  # one node of a traced graph: tracing cannot look into it


class Normalization(nn.Module):
    """Response normalisation of (N, C, H, W) activations, as `layer` describes. columns: that the maps consist of."""

    def __init__(self, layer: NormalizeAcross | NormalizeWithin, columns: int = 1, *, compile_: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.columns = columns
        self.compile_ = compile_

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        """Return the normalised activations, of the same shape."""
        if isinstance(self.layer, NormalizeAcross):
            layer = self.layer
            return normalize(a, "across", layer.maps, layer.k, layer.alpha, self.columns, self.compile_)
        return normalize(a, "within", self.layer.window, 1.0, self.layer.alpha, compile_=self.compile_)

    def warm_up(self, like: torch.Tensor, memory_format: torch.memory_format) -> None:
        """Compile now what training and evaluation will call, by activations of ones. like: has their dtype and device.

        The sizes differ from each other, so that torch compiles for any sizes.
        """
        ones = torch.ones(3, 8 * self.columns, 5, 7, dtype=like.dtype, device=like.device)
        ones = ones.contiguous(memory_format=memory_format)
        self(ones.clone().requires_grad_()).backward(ones)
        with torch.no_grad():
            self(ones)

    def extra_repr(self) -> str:
        """Return the constants, for printing."""
        return f"{self.layer}, columns={self.columns}"
