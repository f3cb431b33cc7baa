"""The paper's update rule (section 5): the learning rate is inside the velocity."""

from collections.abc import Iterable

import torch


class PaperSGD:
    """v <- momentum v - decay lr w - lr g;  w <- w + v.

    `torch.optim.SGD` keeps the learning rate outside the velocity, so that after a drop its old velocity shrinks at
    once; here it keeps its size, as in the paper and the 2012 code.
    """

    def __init__(
        self, parameters: Iterable[tuple[str, torch.nn.Parameter]], *, momentum: float, weight_decay: float
    ) -> None:
        self.parameters = dict(parameters)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.velocity = {name: torch.zeros_like(parameter) for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter from its gradient, and drop the gradient."""
        for name, weight in self.parameters.items():
            assert weight.grad is not None, name
            self.velocity[name].mul_(self.momentum)
            self.velocity[name].add_(weight, alpha=-self.weight_decay * learning_rate)
            self.velocity[name].add_(weight.grad, alpha=-learning_rate)
            weight.add_(self.velocity[name])
            weight.grad = None
