"""Response normalisation, across neighbouring maps (paper section 3.3) or within a map (the 2012 code)."""

from contextlib import nullcontext
from typing import Any

import torch
import torch.fx
from torch import nn

from ..parallel.columns import is_channels_last
from .layers import NormalizeAcross, NormalizeWithin
from .response import (
    Activations,
    Formula,
    compiled_backward,
    compiled_forward,
    sum_across,
    sum_across_last,
    sum_within,
)

PAPER_LRN = NormalizeAcross(maps=5, k=2.0, alpha=1e-4)
SOURCE_LRN = NormalizeAcross(maps=5, k=2.0, alpha=1e-4 / 5)
"""The 2012 code divides alpha by the number of maps; the paper does not."""
SOURCE_NORM_WITHIN = NormalizeWithin(window=5, alpha=4e-5)
CIFAR_11PCT_LRN = NormalizeAcross(maps=9, k=1.0, alpha=0.001 / 9)
CIFAR_18PCT_NORM_WITHIN = NormalizeWithin(window=3, alpha=5e-5 / 9)


class _Normalization(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, formula: Formula, compile_: bool) -> torch.Tensor:
        b, s = _forward(a.detach(), formula, compile_)
        ctx.save_for_backward(a, s)
        ctx.formula, ctx.compile_ = formula, compile_
        if compile_:  # now, because this may be the forward pass that is to compile what training needs
            compiled_backward(formula, Activations.of(a))
        return b

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        a, s = ctx.saved_tensors
        if ctx.compile_:
            shared, result = compiled_backward(ctx.formula, Activations.of(a))
            gradient = torch.empty_like(a).copy_(gradient) if gradient.stride() != a.stride() else gradient
        else:
            shared, result = ctx.formula.backward()
        a = a.detach()
        return result(gradient, a, s, shared(gradient, a, s)), None, None


def _forward(a: torch.Tensor, formula: Formula, compile_: bool) -> tuple[torch.Tensor, torch.Tensor]:
    stage = compiled_forward(formula, Activations.of(a)) if compile_ else formula.forward()
    b, s = stage(a)
    return b, s


def normalize(
    a: torch.Tensor, window: str, size: int, k: float, alpha: float, columns: int = 1, compile_: bool = False
) -> torch.Tensor:
    """Normalise (N, C, H, W) activations; return the same shape.

    window: `across`, over `size` neighbouring maps of the same of `columns` columns; or `within`, over a square of
    `size` pixels within each map. Sums of squares of 16-bit activations are float32; under autocast the result is too.
    The result has the memory order of `a`.
    """
    exact = a.float() if a.dtype in (torch.bfloat16, torch.float16) else a
    device = a.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    with torch.autocast(device, enabled=False) if autocast else nullcontext():
        if window == "within":
            b = _normalized(exact, Formula(sum_within, size, k, alpha), compile_)
        elif is_channels_last(a):
            apart = exact.permute(0, 2, 3, 1).unflatten(3, (columns, -1))  # type: ignore[no-untyped-call]
            b = _normalized(apart, Formula(sum_across_last, size, k, alpha), compile_).flatten(3).permute(0, 3, 1, 2)
        else:
            apart = exact.unflatten(1, (columns, -1))  # type: ignore[no-untyped-call]
            b = _normalized(apart, Formula(sum_across, size, k, alpha), compile_).flatten(1, 2)
    if exact is not a and not autocast:
        b = b.to(a.dtype)
    return b


def _normalized(a: torch.Tensor, formula: Formula, compile_: bool) -> torch.Tensor:
    if torch.is_grad_enabled():
        b: torch.Tensor = _Normalization.apply(a, formula, compile_)  # type: ignore[no-untyped-call]
        return b
    return _forward(a, formula, compile_)[0]


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

    def extra_repr(self) -> str:
        """Return the constants, for printing."""
        return f"{self.layer}, columns={self.columns}"
