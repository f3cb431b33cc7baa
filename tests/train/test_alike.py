"""On the CPU a network computes the same bits with any number of threads."""

from collections.abc import Iterator, Sequence

import pytest
import torch

from freelight.train import RECIPES
from freelight.train.evaluation.alike import computing_alike
from freelight.train.network.network import Network


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def network_of(recipe: str, settings: Sequence[str]) -> Network:
    chosen = RECIPES[recipe].override(settings)
    return Network(chosen.network, classes=101, crop=chosen.crop_size).eval()


@torch.no_grad()
def outputs(network: Network, x: torch.Tensor, threads: int) -> torch.Tensor:
    torch.set_num_threads(threads)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with computing_alike(network):
        result: torch.Tensor = network(x.contiguous(memory_format=torch.channels_last))
    assert torch.get_num_threads() == threads
    return result


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("cifar-18pct", ()),
        pytest.param("paper", ("width=0.2",), marks=pytest.mark.slow),
        pytest.param("cifar-11pct", (), marks=pytest.mark.slow),
        pytest.param("source", ("width=0.2",), marks=pytest.mark.slow),
    ],
)
def test_bits_do_not_depend_on_the_number_of_threads(recipe: str, settings: tuple[str, ...]) -> None:
    """A batch of 5: with it, torch's own products differ between one and two threads."""
    crop = RECIPES[recipe].override(settings).crop_size
    x = 50 * torch.randn(5, 3, crop, crop, generator=torch.Generator().manual_seed(1))
    plain = network_of(recipe, settings)
    with torch.no_grad():
        expected = plain(x)
    one, two, five = (outputs(network_of(recipe, settings), x, threads) for threads in (1, 2, 5))
    assert torch.equal(one, two)
    assert torch.equal(one, five)
    torch.testing.assert_close(one, expected, rtol=1e-5, atol=1e-6)
