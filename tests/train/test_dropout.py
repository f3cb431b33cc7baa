"""Dropout masks are a pure function of (seed, step, layer), and do no more than mask."""

import math

import pytest
import torch

from freelight.train import Columns, DropoutMasks, Network, NetworkConfig


def mask(
    features: int = 4096,
    *,
    seed: int = 0,
    step: int = 0,
    layer: str = "fc6",
    probability: float = 0.5,
    columns: Columns = Columns(),  # noqa: B008
) -> torch.Tensor:
    ones = torch.ones(128, features)
    return DropoutMasks(seed, step).apply(ones, layer, probability, columns)


def test_two_columns_take_the_halves_of_the_mask_that_one_process_draws() -> None:
    whole = mask()
    halves = [mask(2048, columns=Columns(processes=2, rank=rank)) for rank in range(2)]
    assert torch.equal(torch.cat(halves, dim=1), whole)
    assert not torch.equal(*halves)


def test_two_replicas_take_the_rows_of_the_mask_that_one_process_draws() -> None:
    x = torch.ones(7, 64)
    whole = DropoutMasks(3, 4).apply(x, "fc6", 0.5, Columns())
    parts = [
        DropoutMasks(3, 4, batch=7, first=first).apply(x[:rows], "fc6", 0.5, Columns())
        for first, rows in ((0, 4), (4, 3))
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_the_same_seed_step_and_layer_give_the_same_mask_whatever_was_drawn_before() -> None:
    first = mask(seed=1, step=2)
    torch.manual_seed(123)
    mask(seed=5)
    state = torch.get_rng_state()
    assert torch.equal(mask(seed=1, step=2), first)
    assert torch.equal(torch.get_rng_state(), state), "torch's own generator must be left alone"


@pytest.mark.parametrize("other", [{"seed": 1}, {"step": 1}, {"layer": "fc7"}])
def test_another_seed_step_or_layer_gives_an_independent_mask(other: dict[str, int | str]) -> None:
    one, two = mask(), mask(**other)  # type: ignore[arg-type]
    agreeing = (one == two).double().mean()
    assert abs(agreeing - 0.5) < 5 * 0.5 / math.sqrt(one.numel())


@pytest.mark.parametrize("probability", [0.5, 0.2, 0.0])
def test_each_activation_goes_with_the_probability_and_each_image_has_its_own_mask(probability: float) -> None:
    kept = mask(probability=probability)
    assert abs(kept.mean() - (1 - probability)) <= 5 * 0.5 / math.sqrt(kept.numel())
    if probability:
        assert len(torch.unique(kept, dim=0)) == len(kept)


def test_what_is_kept_keeps_its_size() -> None:
    """The paper's dropout, not inverted dropout, which would need another learning rate."""
    x = torch.randn(16, 512, generator=torch.Generator().manual_seed(0))
    dropped = DropoutMasks(0, 0).apply(x, "fc6", 0.5, Columns())
    assert torch.equal(dropped[dropped != 0], x[dropped != 0])
    assert 0.4 < (dropped == 0).double().mean() < 0.6


def test_at_test_the_network_multiplies_by_the_probability_of_being_kept() -> None:
    """With constant activations the logits show the factor, once each for fc6 and fc7."""
    logits = {}
    for dropout in (0.0, 0.5, 0.2):
        network = Network(NetworkConfig(width=0.02, dropout=dropout), classes=3)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.fill_(0.01 if name.startswith(("fc7.w", "fc8.w")) else float(name == "fc6.bias"))
            logits[dropout] = network.eval()(torch.zeros(1, 3, 224, 224))
    torch.testing.assert_close(logits[0.5], logits[0.0] * 0.25)
    torch.testing.assert_close(logits[0.2], logits[0.0] * 0.64)
