"""Memory for the bytes of a batch, used again and again: new memory costs the kernel more than reading a JPEG does."""

import mmap
import weakref

import numpy as np
import numpy.typing as npt


class Memory:
    """Pieces of memory; one is used again when nothing refers to it any more, be it in Python or in DALI."""

    def __init__(self) -> None:
        # Not numpy's own memory: it asks for huge pages, which the kernel cannot give at once on a full machine.
        self._free: list[mmap.mmap] = []

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """Return `size` bytes of any content, size > 0. Views of the array keep it in use."""
        memory = self._free.pop() if self._free else None
        if memory is None or len(memory) < size:
            memory = mmap.mmap(-1, size + size // 4)  # takes what is used
        array = np.frombuffer(memory, np.uint8, size)
        weakref.finalize(array, self._free.append, memory).atexit = False
        return array
