"""Learning rates over a run: by plateaus of the validation error (the paper's rule), or by the epoch."""

from dataclasses import dataclass
from typing import Any

from .recipes import Recipe


@dataclass
class LearningRates:
    """The rate of every parameter in every epoch, and when training ends, as `recipe.schedule` says.

    Only plateaus have a state: `best`, an error in 0..1, `epochs_since_best` and `drops`.
    """

    recipe: Recipe
    best: float = float("inf")
    epochs_since_best: int = 0
    drops: int = 0

    def rate(self, parameter: str, epoch: int) -> float | None:
        """Return the rate of a parameter (`conv1.weight`) in an epoch; None if it is frozen."""
        recipe = self.recipe
        if parameter.startswith("conv1."):
            if recipe.conv1_freeze_epoch is not None and epoch >= recipe.conv1_freeze_epoch:
                return None
            if recipe.conv1_slow_epoch is not None and epoch >= recipe.conv1_slow_epoch:
                return recipe.conv1_slow_rate
        return self.base_rate(epoch, bias=parameter.endswith(".bias")) * recipe.layer_rates.of(parameter, 1.0)

    def base_rate(self, epoch: int, *, bias: bool) -> float:
        """Return the rate of weights, or of biases, in an epoch, where no layer has its own."""
        recipe = self.recipe
        initial = recipe.bias_learning_rate if bias else recipe.learning_rate
        if recipe.schedule == "plateau":
            return float(initial / recipe.plateau_factor**self.drops)
        if recipe.schedule == "exponential" and not bias:
            # Equal parts of the epochs at equal ratios; the last one's rate is the first's over the factor.
            part = min(epoch * recipe.exponential_steps // recipe.epochs, recipe.exponential_steps - 1)
            return float(initial / recipe.exponential_factor ** (part / max(1, recipe.exponential_steps - 1)))
        drops = recipe.bias_drop_epochs if bias else recipe.drop_epochs
        return float(initial / 10 ** sum(epoch >= drop for drop in drops))

    def finished(self, epoch: int) -> bool:
        """Whether training is over before this epoch."""
        plateaued = self.recipe.schedule == "plateau" and self.drops > self.recipe.plateau_drops
        return plateaued or epoch >= self.recipe.epochs

    def update(self, error: float) -> bool:
        """Take in an epoch's validation error; tell whether it is the best so far."""
        if error < self.best:
            self.best, self.epochs_since_best = error, 0
            return True
        self.epochs_since_best += 1
        if self.recipe.schedule == "plateau" and self.epochs_since_best >= self.recipe.plateau_epochs:
            self.drops, self.epochs_since_best = self.drops + 1, 0
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return what changes over a run."""
        return {"best": self.best, "epochs_since_best": self.epochs_since_best, "drops": self.drops}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.best, self.epochs_since_best, self.drops = state["best"], state["epochs_since_best"], state["drops"]
