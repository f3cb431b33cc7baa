"""Memory of a batch is used again, but never while something can still read it."""

import numpy as np

from freelight.pipeline.graph import as_lists, tensor_list
from freelight.pipeline.memory import Memory


def address(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).__array_interface__["data"][0])


def test_memory_is_used_again_when_nothing_refers_to_it() -> None:
    memory = Memory()
    first = memory.take(1000)
    assert len(first) == 1000
    where = address(first)
    part = first[10:20]
    del first
    assert address(memory.take(1000)) != where, "a part of it is still in use"
    del part
    assert address(memory.take(1200)) == where, "a little more fits, too"


def test_memory_is_kept_for_the_tensor_lists_of_dali() -> None:
    memory = Memory()
    view = memory.take(60)
    where = address(view)
    view[:] = bytes(range(60))
    encoded = tensor_list([view[:20], b"bytes", view[20:50]])
    (crops,) = as_lists([np.frombuffer(view, np.uint8).reshape(5, 4, 3)])
    del view
    assert address(memory.take(60)) != where
    assert [bytes(encoded.at(place)) for place in range(3)] == [bytes(range(20)), b"bytes", bytes(range(20, 50))]
    del encoded
    assert address(memory.take(60)) != where
    assert np.array_equal(crops.as_array().ravel(), np.arange(60))
    del crops
    assert where in {address(memory.take(60)) for _ in range(3)}
