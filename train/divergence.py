"""Detect a diverged run, and say where it diverged and which checkpoint is still good."""

import math
from pathlib import Path

from ..shards import FreelightError
from .norms import squared_norm
from .state import TrainingState
from .throughput import Meter

SHOWN = 8
"""Maximum number of sample keys in an error message."""


def check_losses(meter: Meter, state: TrainingState, last: Path) -> None:
    """Raise `FreelightError` if a loss was not finite, naming the step and its samples (a collective).

    last: path of the last checkpoint, which is from an earlier step.
    """
    step = meter.first_bad_step()
    if step is None:
        return
    epoch, place = divmod(step - 1, len(state.loader))
    split, batch_size = state.loader.split, state.config.recipe.batch_size
    order = state.loader.order_of(epoch)
    samples = order[place * batch_size : (place + 1) * batch_size].tolist()
    keys = ", ".join(split.key(sample) for sample in samples[:SHOWN])
    more = ", ..." if len(samples) > SHOWN else ""
    raise _error(f"the loss of step {step} is not finite (epoch {epoch}, samples of {split.name}: {keys}{more})", last)


def check_weights(state: TrainingState, last: Path) -> None:
    """Raise `FreelightError` if a weight is not finite (a collective over columns). last: as in `check_losses`."""
    if not math.isfinite(float(squared_norm(list(state.network.parameters()), state.mesh))):
        raise _error(f"the weights are not finite after step {state.step}", last)


def _error(what: str, last: Path) -> FreelightError:
    good = f"last good checkpoint: {last}" if last.exists() else "no checkpoint was saved before"
    return FreelightError(f"{what}; {good}; try a smaller `learning_rate` in another `out`")
