"""The update rule has the learning rate inside the velocity (paper section 5), also across a drop."""

import numpy as np
import pytest
import torch

from freelight.train import PaperSGD, Recipe

RATES = [0.01] * 10 + [0.001] * 10
SHAPES = {"weight": (5, 3), "bias": (5,)}


def gradients() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()}
        for _ in RATES
    ]


def parameters() -> dict[str, torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
        for name, shape in SHAPES.items()
    }


def trajectory(optimizer: PaperSGD) -> list[dict[str, torch.Tensor]]:
    """Take all steps; return the parameters after each."""
    seen = []
    for rate, given in zip(RATES, gradients(), strict=True):
        for name, parameter in optimizer.parameters.items():
            parameter.grad = given[name].clone()
        optimizer.step(lambda _, rate=rate: rate)
        assert all(parameter.grad is None for parameter in optimizer.parameters.values())
        seen.append({name: parameter.detach().clone() for name, parameter in optimizer.parameters.items()})
    return seen


def test_twenty_steps_across_a_drop_equal_a_plain_transcription() -> None:
    optimizer = PaperSGD(parameters().items(), Recipe())
    seen = trajectory(optimizer)
    for name, parameter in parameters().items():
        w, v = parameter.detach().numpy().copy(), np.zeros(SHAPES[name])
        for rate, given, after in zip(RATES, gradients(), seen, strict=True):
            v = 0.9 * v - 0.0005 * rate * w - rate * given[name].numpy()
            w = w + v
            np.testing.assert_allclose(after[name].numpy(), w, rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(optimizer.velocity[name].numpy(), v, rtol=1e-13, atol=1e-14)


def test_torchs_sgd_is_the_same_until_the_drop_and_another_rule_after_it() -> None:
    """torch's momentum shrinks with the rate; the paper's velocity keeps its size."""
    seen = trajectory(PaperSGD(parameters().items(), Recipe()))
    theirs = parameters()
    sgd = torch.optim.SGD(theirs.values(), lr=RATES[0], momentum=0.9, weight_decay=0.0005)
    for step, (rate, given) in enumerate(zip(RATES, gradients(), strict=True)):
        for name, parameter in theirs.items():
            parameter.grad = given[name].clone()
        sgd.param_groups[0]["lr"] = rate
        sgd.step()
        same = all(torch.allclose(seen[step][name], theirs[name], rtol=1e-10, atol=1e-12) for name in SHAPES)
        assert same == (step < 10), f"step {step}"


def test_a_parameter_without_decay_or_momentum_follows_its_gradient_alone() -> None:
    optimizer = PaperSGD(parameters().items(), Recipe(momentum=0, weight_decay=0, bias_weight_decay=0))
    expected = {name: parameter.detach().clone() for name, parameter in parameters().items()}
    trajectory(optimizer)
    for name, start in expected.items():
        moved = sum(rate * given[name] for rate, given in zip(RATES, gradients(), strict=True))
        torch.testing.assert_close(optimizer.parameters[name].detach(), start - moved)


def test_weights_biases_and_layers_have_their_own_decay_and_rate_and_frozen_ones_stay() -> None:
    recipe = Recipe(weight_decay=0.1, bias_weight_decay=0).override(["layer_decays=fc8:0.5"])
    names = ("conv2.weight", "conv2.bias", "fc8.weight", "conv1.weight")
    optimizer = PaperSGD([(name, torch.nn.Parameter(torch.ones(1))) for name in names], recipe)
    rates = {"conv2.weight": 0.1, "conv2.bias": 0.2, "fc8.weight": 0.1, "conv1.weight": None}
    for name in names:
        optimizer.velocity[name].fill_(1.0)
        optimizer.parameters[name].grad = torch.ones(1)
    optimizer.step(rates.get)
    velocity = {name: velocity.item() for name, velocity in optimizer.velocity.items()}
    expected = {"conv2.weight": 0.9 - 0.01 - 0.1, "conv2.bias": 0.9 - 0.2, "fc8.weight": 0.9 - 0.05 - 0.1}
    assert velocity == pytest.approx({**expected, "conv1.weight": 1.0})
    assert optimizer.parameters["conv1.weight"].item() == 1


def test_parameters_updated_together_get_the_bits_of_one_after_the_other() -> None:
    """In float32, for parameters of three groups, among them one of another dtype."""
    generator = torch.Generator().manual_seed(2)
    names, recipe = ("conv1.weight", "conv1.bias", "fc8.weight", "fc8.bias"), Recipe(bias_weight_decay=0)
    rates = {"conv1.weight": 0.01, "conv1.bias": 0.02, "fc8.weight": 0.01, "fc8.bias": 0.02}
    given = {name: torch.randn(37, 5, generator=generator) for name in names}
    given["fc8.weight"] = given["fc8.weight"].double()
    optimizer = PaperSGD([(name, torch.nn.Parameter(start.clone())) for name, start in given.items()], recipe)
    expected = {name: (start.clone(), torch.zeros_like(start)) for name, start in given.items()}
    for _ in range(5):
        for name, parameter in optimizer.parameters.items():
            parameter.grad = torch.randn(37, 5, generator=generator).to(parameter.dtype)
            w, v = expected[name]
            v.mul_(0.9).add_(w, alpha=-optimizer.decays[name] * rates[name]).add_(parameter.grad, alpha=-rates[name])
            w.add_(v)
        optimizer.step(rates.get)
    for name, (w, v) in expected.items():
        assert torch.equal(optimizer.parameters[name], w), name
        assert torch.equal(optimizer.velocity[name], v), name
