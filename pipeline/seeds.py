"""Streams of random numbers that belong to one purpose, apart from those of the epochs and the ops."""

import zlib

import numpy as np


def seeds_of(purpose: str, *numbers: int) -> np.random.SeedSequence:
    """Return the seeds of a purpose, such as `windowed`, for whole numbers, such as the run's seed and the epoch.

    Only purposes have spawn keys of one number: those of ops and of repeats are longer, and epochs have none.
    """
    return np.random.SeedSequence(numbers, spawn_key=(zlib.crc32(purpose.encode()),))
