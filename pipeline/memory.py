"""Memory for the bytes of a batch, used again and again: new memory costs the kernel more than reading a JPEG does."""

import weakref

import numpy as np
import numpy.typing as npt


class Memory:
    """Pieces of memory; one is used again when nothing refers to it any more, be it in Python or in DALI."""

    def __init__(self) -> None:
        self._free: list[npt.NDArray[np.uint8]] = []

    def take(self, size: int) -> memoryview:
        """Return a piece of `size` bytes, of any content. What shares its memory must be made of this view."""
        memory = self._free.pop() if self._free else np.empty(0, np.uint8)
        if len(memory) < size:
            memory = np.empty(size + size // 4, np.uint8)  # the kernel gives what is used
        piece = memory[:size]
        weakref.finalize(piece, self._free.append, memory).atexit = False
        return piece.data  # what is made of it refers to `piece`; a numpy view of `piece` would refer to `memory`
