"""Which bytes of the shards to read at once for several samples, and where to put them in memory."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

NEAR = 4096
"""Samples of a shard that follow each other with at most so many bytes between them are read at once."""


class Spans(NamedTuple):
    """Bytes of shards that are read at once, and the place of each sample in memory, for rows of a samples table.

    shards, offsets: where each span begins. firsts, stops: the rows that it holds. begins, ends: the place of each row.
    """

    shards: list[int]
    offsets: list[int]
    firsts: list[int]
    stops: list[int]
    begins: list[int]
    ends: list[int]


def spans_of(rows: npt.NDArray[Any]) -> Spans:
    """Return the spans that hold these rows, at least one. Rows keep their order.

    In memory they follow each other; neighbours in a shard with the bytes between them.
    """
    shards, offsets, lengths = (rows[name].astype(np.int64) for name in ("shard", "offset", "length"))
    gaps = offsets[1:] - offsets[:-1] - lengths[:-1]
    are_near = (shards[1:] == shards[:-1]) & (gaps >= 0) & (gaps <= NEAR)
    begins = np.zeros(len(rows), np.int64)
    np.cumsum(lengths[:-1] + gaps * are_near, out=begins[1:])
    firsts = np.flatnonzero(np.append(True, ~are_near))
    stops = np.append(firsts[1:], len(rows))
    found = shards[firsts], offsets[firsts], firsts, stops, begins, begins + lengths
    return Spans(*(numbers.tolist() for numbers in found))
