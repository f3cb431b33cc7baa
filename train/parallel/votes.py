"""Votes after a step: every rank acts on the maximum, so that all ranks save, or stop, after the same step."""

from .mesh import Mesh
from .signals import StopRequest

CONTINUE, SAVE, STOP = 0, 1, 2
"""The votes, in rising order. A rank that received signal n votes STOP + n, so that every rank learns the signal."""


class StoppedError(Exception):
    """A signal asked the run to stop. It is saved as it is and can be resumed."""


def vote(mesh: Mesh, stop: StopRequest, *, save: bool = False) -> bool:
    """Vote to stop if `stop` holds a signal, else to save if `save`, else to continue; return whether all ranks save.

    Every rank must call this at the same point (a collective). Raises `StoppedError` on every rank if any rank received
    a signal; `stop.number` then holds it on every rank.
    """
    own = STOP + stop.number if stop.number else SAVE if save else CONTINUE
    decision = mesh.max_over_ranks(own)
    if decision >= STOP:
        stop.number = decision - STOP
        raise StoppedError
    return decision == SAVE
