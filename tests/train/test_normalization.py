"""Response normalisation is the paper's formula, forward and backward, and stays within a column."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from freelight.train.network.layers import NormalizeAcross, NormalizeWithin
from freelight.train.network.normalization import Normalization

PAPER = NormalizeAcross(maps=5, k=2.0, alpha=1e-4)


def normalize_across(a: torch.Tensor, layer: NormalizeAcross, columns: int) -> torch.Tensor:
    normalized: torch.Tensor = Normalization(layer, columns)(a)
    return normalized


def activations(*shape: int, scale: float = 100.0) -> torch.Tensor:
    """Large enough that the sum of squares exceeds k = 2."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale


def torchs(x: torch.Tensor) -> torch.Tensor:
    # torch divides alpha by the five maps it sums over; the paper does not.
    return F.local_response_norm(x, size=5, alpha=5e-4, beta=0.75, k=2)


@pytest.mark.parametrize("maps", [1, 2, 5, 48])
def test_within_a_column_it_equals_torchs_forward_and_backward(maps: int) -> None:
    ours, theirs = (activations(3, maps, 4, 5).requires_grad_() for _ in range(2))
    normalized, expected = normalize_across(ours, PAPER, 1), torchs(theirs)
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
    torch.testing.assert_close(normalize_across(a.reshape(1, 7, 1, 1), PAPER, 1).flatten(), torch.stack(expected))


def test_its_gradient_is_the_gradient_of_its_output() -> None:
    assert torch.autograd.gradcheck(lambda a: normalize_across(a, PAPER, 2), activations(2, 12, 2, 2).requires_grad_())


def test_it_does_not_cross_columns_forward_or_backward() -> None:
    """Maps 5 and 6 of 12 are neighbours in memory, on different GPUs in the paper."""
    x = activations(2, 12, 3, 3).requires_grad_()
    both = normalize_across(x, PAPER, 2)
    torch.testing.assert_close(both, torch.cat([torchs(half) for half in x.chunk(2, dim=1)], dim=1))
    louder = x.detach().clone()
    louder[:, 6:] *= 10
    assert torch.equal(normalize_across(louder, PAPER, 2)[:, :6], both[:, :6])
    assert not torch.allclose(torchs(x), both), "across columns it would be another function"
    (gradient,) = torch.autograd.grad(both[:, :6].sum(), x)
    assert torch.count_nonzero(gradient[:, 6:]) == 0


def test_float32_is_close_to_float64() -> None:
    x = activations(2, 96, 5, 5)
    torch.testing.assert_close(
        normalize_across(x.float(), PAPER, 2).double(), normalize_across(x, PAPER, 2), rtol=2e-6, atol=1e-9
    )


@pytest.mark.parametrize(("window", "side"), [(5, 13), (3, 4)])
def test_within_a_map_it_is_the_2012_codes_formula_and_its_gradient(window: int, side: int) -> None:
    x = activations(2, 3, side, side)
    layer, half = NormalizeWithin(window=window, alpha=4e-5), window // 2
    expected = torch.empty_like(x)
    for row in range(side):
        for column in range(side):
            around = x[..., max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]
            expected[..., row, column] = x[..., row, column] / (1 + 4e-5 * around.square().sum((-1, -2))) ** 0.75
    torch.testing.assert_close(Normalization(layer)(x), expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(Normalization(layer), x[:, :1, :4, :4].clone().requires_grad_())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # torch's own
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # torch hides it
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a compiler")
def test_compiled_it_is_the_same_to_rounding_for_any_shape() -> None:
    for order in (torch.contiguous_format, torch.channels_last):
        for shape in ((4, 48, 9, 9), (3, 128, 5, 5), (1, 128, 5, 5), (1, 2, 1, 1)):
            gradients = []
            for compile_ in (False, True):
                x = activations(*shape).float().to(memory_format=order).requires_grad_()
                gradient = activations(*shape, scale=1).float().to(memory_format=order)
                Normalization(PAPER, 2, compile_=compile_)(x).backward(gradient)
                gradients.append(x.grad)
            torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_without_a_compiler_it_is_the_plain_formula_and_says_so_in_a_line(tmp_path: Path) -> None:
    program = """
import torch
from freelight.train.network.normalization import SOURCE_LRN, SOURCE_NORM_WITHIN, Normalization
for layer in (SOURCE_LRN, SOURCE_NORM_WITHIN):
    x, y = (torch.full((2, 6, 3, 3), 50.0, requires_grad=True) for _ in range(2))
    Normalization(layer, compile_=True)(x).sum().backward()
    Normalization(layer)(y).sum().backward()
    assert torch.equal(x.grad, y.grad)
"""
    environment = {**os.environ, "CXX": "/nonexistent", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    (line,) = ended.stderr.splitlines()
    assert line.startswith("response normalisation is not compiled and will be slower: ")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a compiler")
def test_the_first_forward_pass_compiles_all_that_training_and_evaluation_use() -> None:
    """Three normalisations of three stages; then not a graph more for any number of images, one included."""
    program = """
import torch
from torch._dynamo.utils import counters
from freelight.train import Network, NetworkConfig
network = Network(NetworkConfig(width=0.1, normalization="source"), classes=5, crop=80, compile_=True)
network.to(memory_format=torch.channels_last)
found = []
for images in (2, 2, 7, 1):
    logits = network(torch.randn(images, 3, 80, 80).to(memory_format=torch.channels_last))
    found.append(counters["stats"]["unique_graphs"])
    logits.sum().backward()
with torch.no_grad():
    network(torch.randn(4, 3, 80, 80).to(memory_format=torch.channels_last))
print(*found, counters["stats"]["unique_graphs"])
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["9"] * 5, ended.stderr
