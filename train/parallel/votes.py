"""Votes on each step: every rank acts on the maximum, so that all ranks save, or stop, after the same step."""

from collections.abc import Callable

from .mesh import Mesh
from .signals import StopRequest

CONTINUE, SAVE, STOP = 0, 1, 2
"""The votes, in rising order. A rank that received signal n votes STOP + n, so that every rank learns the signal."""


class StoppedError(Exception):
    """A signal asked the run to stop. It is saved as it is and can be resumed."""


class Ballot:
    """Votes of all ranks: `cast` as a step begins and `count` when it ends, so that the votes travel during the step.

    Several ranks therefore stop one step after the step in which a signal came, a process alone right after that step.
    """

    def __init__(self, mesh: Mesh, stop: StopRequest) -> None:
        self.mesh = mesh
        self.stop = stop
        self._result: Callable[[], int] = lambda: CONTINUE

    def cast(self, *, save: bool = False) -> None:
        """Vote to stop if `stop` holds a signal, else to save if `save`, else to continue (a collective)."""
        self._result = self.mesh.start_max_over_ranks(self._stop_vote() or (SAVE if save else CONTINUE))

    def count(self) -> bool:
        """Return whether all ranks save. Every rank must call this once after each `cast`.

        Raises `StoppedError` on every rank if any rank had received a signal; `stop.number` then holds it everywhere.
        """
        decision = self._result()
        if self.mesh.world_size == 1:
            decision = self._stop_vote() or decision
        if decision >= STOP:
            self.stop.number = decision - STOP
            raise StoppedError
        return decision == SAVE

    def _stop_vote(self) -> int:
        return STOP + self.stop.number if self.stop.number else CONTINUE
