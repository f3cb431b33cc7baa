"""Run independent tasks on this machine's processes, results as they finish."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from joblib import Parallel, delayed

from .errors import FreelightError

T = TypeVar("T")
R = TypeVar("R")


def run_tasks(function: Callable[[T], R], tasks: Iterable[T], *, workers: int) -> Iterator[R]:
    """Yield `function(task)` for every task, in the order in which they finish; `workers` processes (1: this one)."""
    if workers < 1:
        raise FreelightError(f"--workers (={workers}) must be at least 1")
    try:
        yield from Parallel(n_jobs=workers, return_as="generator_unordered")(delayed(function)(task) for task in tasks)
    except BrokenProcessPool as error:
        raise FreelightError(
            "a worker process was killed (out of memory?); run the same command again, perhaps with fewer --workers"
        ) from error
