"""Reading ahead: how far, in which thread, and what Ctrl-C and a new iteration do to it."""

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from loading import Seen, make, readers, resume

from freelight.pipeline import draw_epoch
from freelight.shards import Dataset, FreelightError, Split


@pytest.mark.usefixtures("read_singly")
def test_storage_hears_of_each_sample_once_before_it_is_read(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """All except the first batches, which are read immediately."""
    told: list[int] = []
    ahead: list[int] = []
    prefetch, read = Split.prefetch, Split.read

    def noted(self: Split, samples: Any) -> None:
        told.extend(samples.tolist())
        prefetch(self, samples)

    def compared(self: Split, sample: int) -> bytes:
        ahead.append(told.index(sample) - len(ahead) if sample in told else -1)
        return read(self, sample)

    monkeypatch.setattr(Split, "prefetch", noted)
    monkeypatch.setattr(Split, "read", compared)
    order = np.concatenate([batch.samples for batch in make(dataset, batch_size=4, prefetch=1)])
    assert told == order[12:].tolist()
    assert ahead[:12] == [-1] * 12
    assert -1 not in ahead[12:]


def main_thread_waits_in(function: str) -> bool:
    """Tell whether the main thread waits for another, somewhere below `function`."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    names = [frame.f_code.co_name]
    while frame.f_back:
        frame = frame.f_back
        names.append(frame.f_code.co_name)
    return names[0] == "wait" and function in names


@pytest.mark.usefixtures("read_singly")
@pytest.mark.parametrize("read", [0, 10, 35])
def test_control_c_loses_nothing(read: int, dataset: Dataset, whole: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first batch, and in a wait inside DALI's callback; the loader can be resumed after it."""
    loader = make(dataset, batch_size=4)
    sound = loader.split.read
    count = 0

    def interrupted(index: int) -> bytes:
        nonlocal count
        count += 1
        if count == read + 1:
            deadline = time.monotonic() + 5
            while read and not main_thread_waits_in("next_inputs") and time.monotonic() < deadline:
                time.sleep(0.001)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.05)
        return sound(index)

    monkeypatch.setattr(loader.split, "read", interrupted)
    seen = Seen()
    with pytest.raises(KeyboardInterrupt):
        seen.add_all(loader)
    assert loader.position == len(seen) < 60
    assert seen.add_all(resume(loader)) == whole


def test_a_second_control_c_while_a_slow_read_is_awaited_loses_nothing(
    dataset: Dataset, whole: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = make(dataset, batch_size=4)
    iteration = iter(loader)
    seen = Seen([next(iteration)])

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "shutdown", interrupted)
        with pytest.raises(KeyboardInterrupt):
            iteration.close()  # type: ignore[attr-defined]
    assert seen.add_all(resume(loader)) == whole


def test_only_the_latest_of_two_iterations_goes_on(dataset: Dataset) -> None:
    """Two would take each other's batches. The later one is the next epoch, because the earlier one took a batch."""
    loader = make(dataset)
    earlier, later = iter(loader), iter(loader)
    assert next(earlier).samples.tolist() == draw_epoch(60, seed=0, epoch=0).order[:16].tolist()
    seen = Seen([next(later)])
    with pytest.raises(FreelightError, match="another was started"):
        next(earlier)
    assert list(seen.add_all(later)) == draw_epoch(60, seed=0, epoch=1).order.tolist()


@pytest.mark.parametrize("move", ["set_epoch", "load_state_dict"])
def test_an_iteration_does_not_go_on_in_an_epoch_it_was_not_made_for(move: str, dataset: Dataset) -> None:
    loader = make(dataset)
    iteration = iter(loader)
    next(iteration)
    state = loader.state_dict()
    loader.set_epoch(1) if move == "set_epoch" else loader.load_state_dict({**state, "position": 32})
    with pytest.raises(FreelightError, match="moved the loader"):
        next(iteration)
    assert loader.position == (0 if move == "set_epoch" else 32)
    assert sum(len(batch.samples) for batch in loader) == (60 if move == "set_epoch" else 28)


def test_a_new_iteration_ends_one_that_a_traceback_keeps_alive(dataset: Dataset) -> None:
    """This happens in a notebook after an error in the loop's body."""
    loader = make(dataset)

    def train() -> None:
        iteration = iter(loader)
        next(iteration)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        train()
    assert len(readers()) == 1
    Seen(loader)
    assert len(readers()) == 1, "the earlier iteration's thread is still there"
    assert caught.tb is not None


@pytest.mark.usefixtures("read_singly")
@pytest.mark.parametrize("prefetch", [0, 2])
def test_only_a_few_batches_are_read_ahead(prefetch: int, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory holds at most `2 * prefetch + 2` batches, not an epoch."""
    reads = 0
    read = Split.read

    def counted(self: Split, index: int) -> bytes:
        nonlocal reads
        reads += 1
        return read(self, index)

    monkeypatch.setattr(Split, "read", counted)
    for taken, _ in enumerate(make(dataset, batch_size=2, prefetch=prefetch), 1):
        if taken <= 10:
            time.sleep(0.02)  # for the thread to read what it may
            ahead = reads // 2 - taken
            assert ahead <= 2 * prefetch + 2
            assert ahead >= prefetch, "nothing is read ahead"
    assert reads == 60


@pytest.mark.slow
def test_a_program_may_end_inside_an_iteration(dataset: Dataset) -> None:
    """No hang and no traceback, in any order in which the interpreter clears objects."""
    program = """
import sys
from freelight.pipeline import Lighting, Loader, Transform
from freelight.shards import Dataset
plain = Transform(mean="none", lighting=Lighting(mode="off"), dtype="uint8")
iteration = iter(Loader(Dataset(sys.argv[1]), "train", batch_size=4, transform=plain))
next(iteration)
"""
    command = [sys.executable, "-W", "error", "-c", program, str(dataset.folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
