"""Learning rates over a run: by plateaus of the validation error (paper section 5), or by the epoch."""

import math
from dataclasses import dataclass
from typing import Any

from .recipes import Recipe


@dataclass
class LearningRates:
    """The learning rate of each parameter in each epoch, and the end of training, by `recipe.schedule`.

    State, which only the schedule `plateau` uses for its rates: best, the lowest top-1 error so far, 0..1;
    epochs_since_best; drops, how often the rates were divided.
    """

    recipe: Recipe
    best: float = float("inf")
    epochs_since_best: int = 0
    drops: int = 0

    def rate(self, parameter: str, epoch: int) -> float | None:
        """Return the learning rate of a parameter (`conv1.weight`) in an epoch; None if it is frozen."""
        recipe = self.recipe
        if parameter.startswith("conv1."):
            if recipe.conv1_freeze_epoch is not None and epoch >= recipe.conv1_freeze_epoch:
                return None
            if recipe.conv1_slow_epoch is not None and epoch >= recipe.conv1_slow_epoch:
                return recipe.conv1_slow_rate
        return self.base_rate(epoch, bias=parameter.endswith(".bias")) * recipe.layer_rates.of(parameter, 1.0)

    def base_rate(self, epoch: int, *, bias: bool) -> float:
        """Return the common learning rate of weights, or of biases, in an epoch."""
        recipe = self.recipe
        initial = recipe.bias_learning_rate if bias else recipe.learning_rate
        if recipe.schedule == "plateau":
            try:
                return float(initial / recipe.plateau_factor**self.drops)
            except ArithmeticError:  # the power is too large or too small for a float
                return 0.0 if recipe.plateau_factor > 1 else math.inf
        if recipe.schedule == "exponential" and not bias:
            # Equal parts of the epochs, equal ratios between them; in the last, the first rate divided by the factor.
            part = min(epoch * recipe.exponential_steps // recipe.epochs, recipe.exponential_steps - 1)
            return float(initial / recipe.exponential_factor ** (part / max(1, recipe.exponential_steps - 1)))
        drops = recipe.bias_drop_epochs if bias else recipe.drop_epochs
        return float(initial / 10 ** sum(epoch >= drop for drop in drops))

    def finished(self, epoch: int) -> bool:
        """Tell whether training ends before this epoch."""
        plateaued = self.recipe.schedule == "plateau" and self.drops > self.recipe.plateau_drops
        return plateaued or epoch >= self.recipe.epochs

    def update(self, error: float) -> bool:
        """Count an epoch's validation error; return whether it is the lowest so far."""
        if error < self.best:
            self.best, self.epochs_since_best = error, 0
            return True
        self.epochs_since_best += 1
        if self.recipe.schedule == "plateau" and self.epochs_since_best >= self.recipe.plateau_epochs:
            self.drops, self.epochs_since_best = self.drops + 1, 0
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"best": self.best, "epochs_since_best": self.epochs_since_best, "drops": self.drops}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.best, self.epochs_since_best, self.drops = state["best"], state["epochs_since_best"], state["drops"]
