"""Local response normalisation across neighbouring maps of a column (paper section 3.3)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

NEIGHBOURS = 5
K = 2.0
ALPHA = 1e-4
BETA = 0.75


def _window_sum(x: torch.Tensor) -> torch.Tensor:
    """Sum (N, C, H, W) over the `NEIGHBOURS` channels around each; channels beyond the edges count as zero."""
    channels = x.shape[1]
    padded = F.pad(x, (0, 0, 0, 0, NEIGHBOURS // 2, NEIGHBOURS // 2))
    total = padded[:, :channels].clone()
    for offset in range(1, NEIGHBOURS):
        total += padded[:, offset : offset + channels]
    return total


class _Normalize(torch.autograd.Function):
    """b = a / s**0.75 with s = k + alpha * window_sum(a**2); forward and backward written out, to spare memory."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor) -> torch.Tensor:
        s = _window_sum(a * a).mul_(ALPHA).add_(K)
        root = torch.rsqrt(s)
        scale = root * root.sqrt()  # s**-0.75
        ctx.save_for_backward(a, s, scale)
        return a * scale

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        # db_j/da_i = scale_i [i = j] - 2 alpha beta a_i a_j scale_j / s_j for i near j; the window is symmetric.
        a, s, scale = ctx.saved_tensors
        scaled = gradient * scale
        shared = _window_sum((scaled * a).div_(s))
        result: torch.Tensor = scaled.sub_(shared.mul_(a).mul_(2 * ALPHA * BETA))
        return result


class ResponseNorm(nn.Module):
    """Normalise (N, columns * C, H, W) activations over neighbouring maps, never across columns."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        """Return activations of the same shape."""
        apart = a.reshape(a.shape[0] * self.columns, a.shape[1] // self.columns, *a.shape[2:])
        normalized: torch.Tensor = _Normalize.apply(apart)  # type: ignore[no-untyped-call]
        return normalized.reshape(a.shape)
