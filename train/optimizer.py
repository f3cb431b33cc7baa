"""The paper's update rule (section 5): the learning rate is inside the velocity."""

from collections.abc import Callable, Iterable

import torch

from .recipes import Recipe


class PaperSGD:
    """v <- momentum v - decay lr w - lr g;  w <- w + v, with a learning rate and a weight decay for each parameter.

    `torch.optim.SGD` multiplies the velocity by the learning rate, so that a lower rate also shrinks the old velocity.
    Here the old velocity keeps its size, as in the paper and the 2012 code. Frozen parameters and their velocity do not
    change.
    """

    def __init__(self, parameters: Iterable[tuple[str, torch.nn.Parameter]], recipe: Recipe) -> None:
        self.parameters = dict(parameters)
        self.momentum = recipe.momentum
        self.velocity = {name: torch.zeros_like(parameter) for name, parameter in self.parameters.items()}
        self.decays = {
            name: recipe.layer_decays.of(
                name, recipe.bias_weight_decay if name.endswith(".bias") else recipe.weight_decay
            )
            for name in self.parameters
        }

    @torch.no_grad()
    def step(self, rate: Callable[[str], float | None]) -> None:
        """Update each parameter, then drop its gradient. rate: a parameter's learning rate by name; None: frozen."""
        for name, weight in self.parameters.items():
            assert weight.grad is not None, name
            learning_rate = rate(name)
            if learning_rate is not None:
                self.velocity[name].mul_(self.momentum)
                self.velocity[name].add_(weight, alpha=-self.decays[name] * learning_rate)
                self.velocity[name].add_(weight.grad, alpha=-learning_rate)
                weight.add_(self.velocity[name])
            weight.grad = None
