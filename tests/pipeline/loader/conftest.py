"""What batches must contain; and no thread may outlive a test."""

import gc
import time
from typing import Any

import pytest
from loading import Seen, make, readers

from freelight.shards import Dataset


@pytest.fixture(scope="session")
def whole(dataset: Dataset) -> Seen:
    """Epoch 0 of train with seed 0: every other way to load it must give the same."""
    return Seen(make(dataset))


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Any:
    """Check this after every test here. (A thread that Ctrl-C hit while starting is told to end, not awaited.)"""
    yield
    if readers():
        gc.collect()  # loaders that a caught error's traceback refers to; it takes longer than most tests
    deadline = time.monotonic() + 2
    while readers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert readers() == []
