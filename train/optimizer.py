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
        """Update each parameter, then drop its gradient. rate: a parameter's learning rate by name; None: frozen.

        Parameters of the same rate and decay are updated together, because on a GPU each operation takes longer to
        launch than to run.
        """
        groups: dict[tuple[float, float], list[str]] = {}
        for name, parameter in self.parameters.items():
            assert parameter.grad is not None, name
            learning_rate = rate(name)
            if learning_rate is not None:
                groups.setdefault((learning_rate, self.decays[name]), []).append(name)
        for (learning_rate, decay), names in groups.items():
            weights: list[torch.Tensor] = [self.parameters[name] for name in names]
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            velocities = [self.velocity[name] for name in names]
            torch._foreach_mul_(velocities, self.momentum)
            torch._foreach_add_(velocities, weights, alpha=-decay * learning_rate)
            torch._foreach_add_(velocities, gradients, alpha=-learning_rate)
            torch._foreach_add_(weights, velocities)
        for weight in self.parameters.values():
            weight.grad = None
