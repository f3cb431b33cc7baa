"""The paper's learning-rate rule: divide by ten when the validation error stops improving (section 5)."""

from dataclasses import dataclass
from typing import Any

from .recipe import Recipe


@dataclass
class Plateau:
    """Divide the rate by `recipe.plateau_factor` after `plateau_epochs` epochs without a new best error.

    The paper says three drops; at the fourth plateau training stops. `best` is an error in 0..1.
    """

    recipe: Recipe
    best: float = float("inf")
    epochs_since_best: int = 0
    drops: int = 0

    @property
    def learning_rate(self) -> float:
        """The rate for the next step."""
        return self.recipe.learning_rate / self.recipe.plateau_factor**self.drops

    @property
    def finished(self) -> bool:
        """Whether the last allowed rate has stopped improving too."""
        return self.drops > self.recipe.plateau_drops

    def update(self, error: float) -> None:
        """Take in an epoch's validation error."""
        if error < self.best:
            self.best, self.epochs_since_best = error, 0
            return
        self.epochs_since_best += 1
        if self.epochs_since_best >= self.recipe.plateau_epochs:
            self.drops, self.epochs_since_best = self.drops + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return what changes over a run."""
        return {"best": self.best, "epochs_since_best": self.epochs_since_best, "drops": self.drops}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.best, self.epochs_since_best, self.drops = state["best"], state["epochs_since_best"], state["drops"]
