"""Run independent tasks on this machine's processes or on a Dask cluster, results as they finish."""

import contextlib
import errno
import functools
import importlib
import itertools
import logging
import os
import pickle
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from .cores import CountOrAuto, usable_cores
from .disk import naming_file
from .errors import FreelightError
from .following import follow
from .processes import exit_with_parent, holding_signals

T = TypeVar("T")
R = TypeVar("R")

CLUSTER_TIMEOUT = 10
"""How long to wait for a Dask scheduler to answer, seconds."""
WORKERS_NOTICE, WORKERS_TIMEOUT = 5, 120
"""After how long without any worker of a Dask scheduler that is said, and is an error, seconds."""
THREADS = 4
"""Second steps of tasks, such as uploads, that run at once beside the workers of this machine."""
WAITING = 4
"""Results that wait for their second step; then the workers wait too."""
WORKERS_PER_CORE = 16
"""Limit of `workers`. Reading from slow storage may need more than one per core; thousands would stall the machine."""


class LostWorkerError(FreelightError):
    """A worker process of this machine died."""


def run_tasks(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    workers: CountOrAuto,
    cluster: str | None = None,
    then: Callable[[R, threading.Event], R] | None = None,
) -> Generator[R, None, None]:
    """Yield `function(task)` for every task, in order of completion. Closing the generator ends running tasks.

    workers: processes of this machine, at most one per task; `auto` is one per usable core, and logged. One runs the
    tasks in this process. cluster: address of a Dask scheduler (tcp://host:8786) whose workers run the tasks instead;
    they need this package, and the files under the same paths. then: a second step of each result that uses little of
    a core; it runs in threads of this process, beside the next tasks, or on a cluster's worker after the task. Its
    second argument is an event that asks it to end.
    """
    if workers != "auto" and workers < 1:
        raise FreelightError(f"`workers` (={workers}) must be at least 1")
    if cluster is not None:
        both = function if then is None else functools.partial(_do_both, function, then)
        yield from _run_on_cluster(both, tasks, cluster)
    elif then is None:
        yield from _run_here(function, tasks, workers)
    else:
        yield from follow(_run_here(function, tasks, workers, waiting=WAITING), then, threads=THREADS)


def _do_both(function: Callable[[T], R], then: Callable[[R, threading.Event], R], task: T) -> R:
    return then(function(task), threading.Event())


def _run_here(
    function: Callable[[T], R], tasks: Iterable[T], workers: CountOrAuto, *, waiting: int | None = None
) -> Generator[R, None, None]:
    """Run tasks on processes of this machine. waiting: number of results that are not taken at which they wait."""
    cores = len(os.sched_getaffinity(0))
    if workers != "auto" and workers > WORKERS_PER_CORE * cores:  # joblib starts them all at once
        raise FreelightError(f"`workers` (={workers}) must be at most {WORKERS_PER_CORE * cores} on {cores} cores")
    count = usable_cores() if workers == "auto" else workers
    if isinstance(tasks, Sized):
        count = min(count, len(tasks))
    if count > 1 and workers == "auto":
        logging.getLogger(__name__).info("workers: %d", count)
    if count <= 1:
        yield from map(function, tasks)
        return
    from joblib import Parallel, delayed  # here, because --help needs no executor and joblib takes long to import

    try:
        with (
            tempfile.TemporaryDirectory(prefix="freelight-") as folder,
            _hiding_a_cancelled_task(),
            contextlib.ExitStack() as stack,
        ):
            run = delayed(functools.partial(_run_in_worker, function, folder, waiting))
            with holding_signals(), _naming_shared_memory():
                # Without the initializer, workers outlive a parent that is killed before they have a task by 300 s.
                parallel = Parallel(
                    count,
                    return_as="generator_unordered",
                    # joblib returns the results of a batch of quick tasks together, and its later tasks would wait for
                    # a caller that waits for them.
                    batch_size="auto" if waiting is None else 1,
                    initializer=exit_with_parent,
                    initargs=(os.getpid(),),
                )
                paths = parallel(run(task) for task in tasks)
                stack.callback(_close, paths)
            for path in paths:
                yield _take_result(path)
    except BrokenProcessPool as error:
        raise LostWorkerError(
            "a worker process was killed (out of memory?); run the same command again, or with fewer `workers`"
        ) from error


def _close(results: Generator[Any, None, None]) -> None:
    """End the tasks that run, without the warnings of those that are cancelled: the caller stopped, and says why."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results.close()


@contextlib.contextmanager
def _hiding_a_cancelled_task() -> Iterator[None]:
    """Let joblib's thread print no traceback about a task that was cancelled before a worker had it.

    Its shutdown empties the table of tasks, and the thread may look one up in it after that. It ends then anyway.
    """
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        thread = arguments.thread
        if not (arguments.exc_type is KeyError and thread is not None and thread.name == "ExecutorManagerThread"):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


@contextlib.contextmanager
def _naming_shared_memory() -> Iterator[None]:
    """Name the disk of locks and queues in an error of a disk that is full: the system's error names no file."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC and error.filename is None:
            error.filename = "/dev/shm"
        raise


def _run_in_worker(function: Callable[[T], R], folder: str, waiting: int | None, task: T) -> str:
    """Return the path of a file that holds the result.

    All workers send through one pipe. One that is killed while it sends a large result leaves half of it there, and
    joblib would wait for the rest for ever; a path is sent whole or not at all.
    """
    while waiting is not None and len(os.listdir(folder)) >= waiting:
        time.sleep(0.1)
    result = function(task)
    descriptor, path = tempfile.mkstemp(dir=folder)
    with naming_file(path), open(descriptor, "wb") as file:
        pickle.dump(result, file, pickle.HIGHEST_PROTOCOL)
    return path


def _take_result(path: str) -> Any:
    """Read a result and delete its file."""
    with open(path, "rb") as file:
        result = pickle.load(file)
    os.unlink(path)
    return result


def _run_on_cluster(function: Callable[[T], R], tasks: Iterable[T], address: str) -> Iterator[R]:
    """Keep two tasks per thread submitted: a task may carry its pictures, and all tasks would not fit in memory."""
    distributed = _import_distributed()
    try:
        client = distributed.Client(address, timeout=CLUSTER_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise FreelightError(f"`cluster` {address}: no Dask scheduler answers there ({error}); start one") from error
    with client:
        threads = _wait_for_workers(client, address)
        waiting = iter(tasks)
        running = distributed.as_completed(loop=client.loop, with_results=True)
        for task in itertools.islice(waiting, 2 * threads):
            running.add(client.submit(function, task, pure=False))
        while not running.is_empty():
            checked = time.monotonic()
            while not running.has_ready():
                time.sleep(0.01)
                if time.monotonic() > checked + WORKERS_NOTICE:  # tasks that lost all workers would wait in silence
                    _wait_for_workers(client, address)
                    checked = time.monotonic()
            try:
                _, result = next(running)
            except distributed.KilledWorker as error:
                raise FreelightError(
                    f"`cluster` {address}: a task lost its worker several times (out of memory?); "
                    "run the same command again with larger workers"
                ) from error
            if isinstance(result, CancelledError):
                raise _lost(address)
            for task in itertools.islice(waiting, 1):
                running.add(client.submit(function, task, pure=False))
            yield result


def _wait_for_workers(client: Any, address: str) -> int:
    """Return the number of the workers' threads; wait until there are any, and say so.

    Raises `FreelightError` if there are none for `WORKERS_TIMEOUT`, or if the connection is lost.
    """
    begin = time.monotonic()
    said = False
    while True:
        try:
            threads = int(sum(client.nthreads().values()))
        except OSError:
            raise _lost(address) from None
        if threads:
            return threads
        waited = time.monotonic() - begin
        if waited > WORKERS_TIMEOUT:
            raise FreelightError(
                f"`cluster` {address} has had no workers for {WORKERS_TIMEOUT:g} s; start some: dask worker {address}"
            )
        if waited > WORKERS_NOTICE and not said:
            logging.getLogger(__name__).warning(
                "waiting for workers of the Dask scheduler %s; start some: dask worker %s", address, address
            )
            said = True
        time.sleep(0.5)


def _lost(address: str) -> FreelightError:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # closing the client would log tracebacks
    return FreelightError(
        f"`cluster` {address}: the connection to the Dask scheduler is lost; run the same command again"
    )


def _import_distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise FreelightError("`cluster` needs Dask; install it with: pip install 'freelight[cluster]'") from None
