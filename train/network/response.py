"""The formula of response normalisation and of its gradient, in stages, plain or compiled.

`b = a / s**0.75` with `s = k + alpha * window(a**2)`, where `window` sums over a neighbourhood of each pixel and is its
own transpose. So if g is the gradient of b, the gradient of a is
`g / s**0.75 - 1.5 alpha a window(g a / s**1.75)`. `torch.compile` fuses each stage: they are then 3 to 5 times as fast.
"""

import functools
import logging
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

Stage = Callable[..., Any]


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


@dataclass(frozen=True)
class Formula:
    """The constants of the formula. window: sums over `size` maps, or a square of `size` pixels, around each place."""

    window: Callable[[torch.Tensor, int], torch.Tensor]
    size: int
    k: float
    alpha: float

    def forward(self) -> Stage:
        """Return the function that computes b and s from a."""
        window, size, k, alpha = self.window, self.size, self.k, self.alpha

        def normalize(a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            s = window(a * a, size).mul_(alpha).add_(k)
            return _power(s).mul_(a), s

        return normalize

    def backward(self) -> tuple[Stage, Stage]:
        """Return the functions that compute what the windows sum, from (g, a, s), and the gradient, from this too."""
        window, size, alpha = self.window, self.size, self.alpha

        def shared(gradient: torch.Tensor, a: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
            return _power(s).mul_(gradient).mul_(a).div_(s)

        def result(gradient: torch.Tensor, a: torch.Tensor, s: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
            return _power(s).mul_(gradient).sub_(window(shared, size).mul_(a).mul_(1.5 * alpha))

        return shared, result


class Activations(NamedTuple):
    """What compiled code is for: activations of any number of images. shape, strides: of one image."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    device: str

    @classmethod
    def of(cls, a: torch.Tensor) -> "Activations":
        """Return the kind of activations that (N, ...) are."""
        return cls(tuple(a.shape[1:]), a.stride()[1:], a.dtype, a.device.type)

    def two(self) -> torch.Tensor:
        """Return ones for two images, whose number the compiler is told to leave open."""
        size = 1 + sum((side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True))
        ones = torch.empty_strided((2, *self.shape), (size, *self.strides), dtype=self.dtype, device=self.device)
        torch._dynamo.mark_dynamic(ones, 0)
        return ones.fill_(1)


@functools.cache
def compiled_forward(formula: Formula, kind: Activations) -> Stage:
    """Return `formula.forward()` compiled for a kind of activations; without a compiler, as it is, with a warning.

    The first call compiles, which takes seconds. `torch.compile` needs a C++ compiler on the CPU.
    """
    (stage,) = _compiled((formula.forward(),), lambda stage: stage(kind.two()))
    return stage


@functools.cache
def compiled_backward(formula: Formula, kind: Activations) -> tuple[Stage, Stage]:
    """Return `formula.backward()` compiled in the same way."""

    def run(shared: Stage, result: Stage) -> None:
        shared(*(kind.two() for _ in range(3)))  # not one tensor three times: the compiled code would rely on that
        result(*(kind.two() for _ in range(4)))

    shared, result = _compiled(formula.backward(), run)
    return shared, result


def _compiled(stages: tuple[Stage, ...], run: Callable[..., object]) -> tuple[Stage, ...]:
    """Compile the stages by `run(*stages)`. If that fails, log a warning and return them as they are."""
    made = tuple(_more_than_one(torch.compile(_with_own_code(stage))) for stage in stages)
    try:
        with torch.no_grad():
            run(*made)
    except Exception as error:  # no fault of a compiler may end a run
        _warn(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
        return stages
    return made


def _with_own_code(function: Any) -> Stage:
    """Return a copy: torch keeps 8 compiled forms per code object, then it silently runs the plain function."""
    code, scope, closure = function.__code__.replace(), function.__globals__, function.__closure__
    return types.FunctionType(code, scope, function.__name__, None, closure)


def _more_than_one(stage: Stage) -> Stage:
    """Compute one image as two, because torch compiles code of its own for a size of 1."""

    def call(*tensors: torch.Tensor) -> Any:
        if len(tensors[0]) > 1:
            return stage(*tensors)
        found = stage(*(torch.cat([tensor, tensor]) for tensor in tensors))
        return tuple(tensor[:1] for tensor in found) if isinstance(found, tuple) else found[:1]

    return call


@functools.cache
def _warn(reason: str) -> None:
    logging.getLogger(__name__).warning("response normalisation is not compiled and will be slower: %s", reason)
