"""Run independent tasks on this machine's processes or on a Dask cluster, results as they finish."""

import functools
import importlib
import itertools
import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from .errors import FreelightError
from .processes import exit_with_parent

T = TypeVar("T")
R = TypeVar("R")

CLUSTER_TIMEOUT = 10
"""How long to wait for a Dask scheduler to answer, seconds."""


class LostWorkerError(FreelightError):
    """A worker process of this machine died."""


def run_tasks(
    function: Callable[[T], R], tasks: Iterable[T], *, workers: int, cluster: str | None = None
) -> Generator[R, None, None]:
    """Yield `function(task)` for every task, in order of completion. Closing the generator ends running tasks.

    workers: processes of this machine; 1 runs the tasks in this process. cluster: address of a Dask scheduler
    (tcp://host:8786) whose workers run the tasks instead; they need this package, and the files under the same paths.
    """
    if workers < 1:
        raise FreelightError(f"`workers` (={workers}) must be at least 1")
    if cluster is not None:
        yield from _run_on_cluster(function, tasks, cluster)
        return
    from joblib import Parallel, delayed  # here, because --help needs no executor and joblib takes long to import

    try:
        run = delayed(functools.partial(_run_in_worker, function, os.getpid()))
        results = Parallel(n_jobs=workers, return_as="generator_unordered")(run(task) for task in tasks)
        try:
            for result in results:  # noqa: UP028 - `yield from` would close `results` before the filter is set
                yield result
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of tasks that are cancelled: the caller stopped, and says why
                results.close()
    except BrokenProcessPool as error:
        raise LostWorkerError(
            "a worker process was killed (out of memory?); run the same command again, or with fewer `workers`"
        ) from error


def _run_in_worker(function: Callable[[T], R], parent: int, task: T) -> R:
    if os.getpid() != parent:
        exit_with_parent(parent)  # joblib's workers otherwise wait 300 s for another task
    return function(task)


def _run_on_cluster(function: Callable[[T], R], tasks: Iterable[T], address: str) -> Iterator[R]:
    """Keep two tasks per thread submitted: a task may carry its pictures, and all tasks would not fit in memory."""
    distributed = _import_distributed()
    try:
        client = distributed.Client(address, timeout=CLUSTER_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise FreelightError(f"`cluster` {address}: no Dask scheduler answers there ({error}); start one") from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise FreelightError(f"`cluster` {address} has no workers; start some: dask worker {address}")
        waiting = iter(tasks)
        running = distributed.as_completed(loop=client.loop)
        for task in itertools.islice(waiting, 2 * threads):
            running.add(client.submit(function, task, pure=False))
        for future in running:
            try:
                result = future.result()
            except distributed.KilledWorker as error:
                raise FreelightError(
                    f"`cluster` {address}: a task lost its worker several times (out of memory?); "
                    "run the same command again with larger workers"
                ) from error
            for task in itertools.islice(waiting, 1):
                running.add(client.submit(function, task, pure=False))
            yield result


def _import_distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise FreelightError("`cluster` needs Dask; install it with: pip install 'freelight[cluster]'") from None
