"""What batches must come to, and that no thread outlives a test."""

import gc
import time
from typing import Any

import pytest
from loading import Seen, make, readers

from freelight.shards import Dataset


@pytest.fixture(scope="session")
def whole(dataset: Dataset) -> Seen:
    """Epoch 0 of train, of seed 0: what every other way to load it must come to."""
    return Seen(make(dataset))


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Any:
    """Hold all tests here to it. (One that Ctrl-C caught while it was started is told to end, not awaited.)"""
    yield
    gc.collect()  # loaders that a caught error's traceback refers to
    deadline = time.monotonic() + 2
    while readers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert readers() == []
