"""Response normalisation is the paper's formula, forward and backward, and stays within a column."""

import pytest
import torch
import torch.nn.functional as F

from freelight.train.normalization import ResponseNorm


def activations(*shape: int, scale: float = 100.0) -> torch.Tensor:
    """Of a size at which the sum of squares outweighs k = 2."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale


def torchs(x: torch.Tensor) -> torch.Tensor:
    # torch divides alpha by the five maps it sums over; the paper does not.
    return F.local_response_norm(x, size=5, alpha=5e-4, beta=0.75, k=2)


@pytest.mark.parametrize("maps", [1, 2, 5, 48])
def test_within_a_column_it_equals_torchs_forward_and_backward(maps: int) -> None:
    ours, theirs = (activations(3, maps, 4, 5).requires_grad_() for _ in range(2))
    normalized, expected = ResponseNorm(1)(ours), torchs(theirs)
    torch.testing.assert_close(normalized, expected, rtol=1e-12, atol=1e-12)
    upstream = activations(3, maps, 4, 5, scale=1)
    normalized.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_it_is_the_papers_formula_written_out() -> None:
    a = activations(1, 7, 1, 1).flatten()
    expected = [
        a[i] / (2 + 1e-4 * sum(a[j] ** 2 for j in range(max(0, i - 2), min(7, i + 3)))) ** 0.75 for i in range(7)
    ]
    torch.testing.assert_close(ResponseNorm(1)(a.reshape(1, 7, 1, 1)).flatten(), torch.stack(expected))


def test_its_gradient_is_the_gradient_of_its_output() -> None:
    assert torch.autograd.gradcheck(ResponseNorm(2), activations(2, 12, 2, 2).requires_grad_())


def test_it_does_not_cross_columns_forward_or_backward() -> None:
    """Maps 5 and 6 of 12 are neighbours in memory, on different GPUs in the paper."""
    x = activations(2, 12, 3, 3).requires_grad_()
    both = ResponseNorm(2)(x)
    torch.testing.assert_close(both, torch.cat([torchs(half) for half in x.chunk(2, dim=1)], dim=1))
    louder = x.detach().clone()
    louder[:, 6:] *= 10
    assert torch.equal(ResponseNorm(2)(louder)[:, :6], both[:, :6])
    assert not torch.allclose(torchs(x), both), "across columns it would be another function"
    (gradient,) = torch.autograd.grad(both[:, :6].sum(), x)
    assert torch.count_nonzero(gradient[:, 6:]) == 0


def test_float32_is_close_to_float64() -> None:
    x = activations(2, 96, 5, 5)
    torch.testing.assert_close(ResponseNorm(2)(x.float()).double(), ResponseNorm(2)(x), rtol=2e-6, atol=1e-9)
