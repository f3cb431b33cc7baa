"""Memory of a batch is used again, but never while something can still read it."""

import numpy as np
import numpy.typing as npt

from freelight.pipeline.graph import as_lists, tensor_list
from freelight.pipeline.memory import Memory


def address(array: npt.NDArray[np.uint8]) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_used_again_when_nothing_refers_to_it() -> None:
    memory = Memory()
    first = memory.take(1000)
    assert first.shape == (1000,)
    where = address(first)
    part = first[10:20].reshape(2, 5)
    del first
    assert address(memory.take(1000)) != where, "a part of it is still in use"
    del part
    assert where in {address(memory.take(1200)) for _ in range(2)}, "a little more fits, too"


def test_memory_is_kept_for_the_tensor_lists_of_dali() -> None:
    memory = Memory()
    array = memory.take(60)
    where = address(array)
    array[:] = range(60)
    encoded = tensor_list([array[:20], b"bytes", array[20:50]])
    (crops,) = as_lists([array.reshape(5, 4, 3)])
    del array
    assert address(memory.take(60)) != where
    assert [bytes(encoded.at(place)) for place in range(3)] == [bytes(range(20)), b"bytes", bytes(range(20, 50))]
    del encoded
    assert address(memory.take(60)) != where
    assert np.array_equal(crops.as_array().ravel(), np.arange(60))
    del crops
    assert where in {address(memory.take(60)) for _ in range(3)}
