"""A second step of a task, such as an upload, runs beside the next tasks, and only a few results wait for it."""

import functools
import operator
import threading
import time
from pathlib import Path

import pytest

from freelight.shards import FreelightError
from freelight.shards.base import run_tasks
from freelight.shards.base.executor import THREADS, WAITING


def test_the_next_task_begins_while_a_second_step_runs() -> None:
    second_begun = threading.Event()

    def work(task: int) -> int:
        if task == 1:
            second_begun.set()
        return task

    def then(result: int, stop: threading.Event) -> int:
        assert second_begun.wait(10), "the second task waited for the end of the first one"
        return 10 * result

    assert sorted(run_tasks(work, range(3), workers=1, then=then)) == [0, 10, 20]


def test_few_results_wait_for_a_slow_second_step() -> None:
    made: list[int] = []
    ended: list[int] = []

    def work(task: int) -> int:
        made.append(task)
        return len(made) - len(ended)

    def then(result: int, stop: threading.Event) -> int:
        time.sleep(0.01)
        ended.append(result)
        return result

    assert max(run_tasks(work, range(20), workers=1, then=then)) <= THREADS + 1


@pytest.mark.slow
def test_processes_wait_for_a_slow_second_step(tmp_path: Path) -> None:
    most = 0

    def then(result: Path, stop: threading.Event) -> Path:
        nonlocal most
        most = max(most, len(list(tmp_path.iterdir())))
        time.sleep(0.3)
        result.rmdir()
        return result

    folders = [tmp_path / str(number) for number in range(40)]
    assert sorted(run_tasks(make_folder, folders, workers=2, then=then)) == sorted(folders)
    assert 2 < most <= THREADS + WAITING + 2 + 2  # with those of the workers, and those that are taken


@pytest.mark.slow
def test_quick_tasks_of_processes_do_not_wait_for_each_other() -> None:
    """joblib batches quick tasks: those of a batch could wait for results that it returns at the end of the batch."""
    found: list[int] = []

    def then(result: int, stop: threading.Event) -> int:
        time.sleep(0.002)
        return result

    def work() -> None:
        found.extend(run_tasks(operator.neg, range(60), workers=2, then=then))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert sorted(found) == sorted(map(operator.neg, range(60)))


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_second_step_ends_the_work(workers: int) -> None:
    """No further task runs, and other second steps are asked to end."""
    asked = threading.Event()

    def then(result: int, stop: threading.Event) -> int:
        if result == 1:
            raise FreelightError("the store is full")
        if stop.wait(10):
            asked.set()
        return result

    tasks = [functools.partial(operator.pos, number) for number in range(100)]
    with pytest.raises(FreelightError, match="the store is full"):
        list(run_tasks(operator.call, tasks, workers=workers, then=then))
    assert asked.wait(10)
