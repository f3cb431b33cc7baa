"""Nearest-neighbour search: exact, by Euclidean distance, or by the Hamming distance of binary codes.

Both read the base in chunks, so it may be a memory-mapped file of any size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...shards import FreelightError

Vectors = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]

CHUNK = 16_384
"""Rows of the base per chunk."""
BLOCK = 1024
"""Queries per block: their float32 distances to a chunk take 64 MB, or 128 MB as int64."""
SPARE = 32
"""Candidates beyond the k nearest, to be ranked again in float64."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """indices: int64 (queries, k), rows of the base, the nearest first. distances: float64 (queries, k)."""

    indices: Indices
    distances: npt.NDArray[np.float64]


def nearest_vectors(queries: Vectors, base: Vectors, k: int, *, chunk: int = CHUNK) -> Nearest:
    """Return the k rows of `base` (n, d) nearest to each query (q, d) by Euclidean distance.

    Distances in float32, as |b|**2 - 2 q.b after subtracting the queries' mean, select k + 32 candidates, which exact
    distances in float64 then rank. Ties go to the lower row.
    """
    _check(k, len(base))
    return _in_blocks(lambda part: _nearest_vectors(part, base, k, chunk), queries)


def _nearest_vectors(queries: Vectors, base: Vectors, k: int, chunk: int) -> Nearest:
    if not np.isfinite(queries).all():
        raise FreelightError("a query's vector is not finite; extract the features again, or name another checkpoint")
    middle = queries.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = torch.from_numpy(queries - middle)
    wanted = min(k + SPARE, len(base))
    values = torch.empty((len(queries), 0))
    rows = torch.empty((len(queries), 0), dtype=torch.int64)
    for first in range(0, len(base), chunk):
        part = torch.from_numpy(base[first : first + chunk] - middle)
        squares = part.square().sum(dim=1)
        if not bool(squares.isfinite().all()):
            row = first + int(squares.isfinite().logical_not().nonzero()[0])
            raise FreelightError(f"row {row} of the vectors is not finite, or too large; extract the features again")
        scores = squares - 2 * (centred @ part.T)
        best = scores.topk(min(wanted, len(part)), largest=False)
        values, rows = torch.cat([values, best.values], dim=1), torch.cat([rows, best.indices + first], dim=1)
        best = values.topk(min(wanted, values.shape[1]), largest=False)
        values, rows = best.values, rows.gather(1, best.indices)
    candidates = np.sort(rows.numpy(), axis=1)
    distances = np.stack(
        [
            np.linalg.norm(base[row].astype(np.float64) - query, axis=1)
            for row, query in zip(candidates, queries, strict=True)
        ]
    )
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return Nearest(np.take_along_axis(candidates, order, axis=1), np.take_along_axis(distances, order, axis=1))


def nearest_codes(queries: Codes, base: Codes, k: int, *, chunk: int = CHUNK) -> Nearest:
    """Return the k rows of `base` (n, bytes) nearest to each query (q, bytes) by the number of bits that differ.

    Ties go to the lower row.
    """
    _check(k, len(base))
    return _in_blocks(lambda part: _nearest_codes(part, base, k, chunk), queries)


def _nearest_codes(queries: Codes, base: Codes, k: int, chunk: int) -> Nearest:
    # Eight bytes at a time; both are padded with zeros, which differ nowhere.
    query_words, base_words = (
        np.pad(codes, ((0, 0), (0, -codes.shape[1] % 8))).view(np.uint64) for codes in (queries, base)
    )
    keys = np.empty((len(queries), 0), np.int64)
    for first in range(0, len(base), chunk):
        part = base_words[first : first + chunk]
        bits = np.zeros((len(queries), len(part)), np.int64)
        for word in range(part.shape[1]):
            bits += np.bitwise_count(query_words[:, word, None] ^ part[:, word])
        # Distance and row in one key, so that one selection also settles ties.
        new = bits * len(base) + np.arange(first, first + len(part))
        keys = np.concatenate([keys, new], axis=1)
        if keys.shape[1] > k:
            keys = np.partition(keys, k - 1, axis=1)[:, :k]
    keys.sort(axis=1)
    return Nearest(keys % len(base), (keys // len(base)).astype(np.float64))


def recall(found: Indices, exact: Indices) -> float:
    """Return the share, 0..1, of the exact neighbours (queries, m) that are among those found (queries, k)."""
    hits = (found[:, :, None] == exact[:, None, :]).any(axis=1)
    return float(hits.mean())


def precision(found: Indices, labels: npt.NDArray[np.int64], query_labels: npt.NDArray[np.int64]) -> float:
    """Return the share, 0..1, of the images found (queries, k) that have their query's label."""
    return float((labels[found] == query_labels[:, None]).mean())


def _in_blocks(search: Callable[[Any], Nearest], queries: npt.NDArray[Any]) -> Nearest:
    """Search block by block, which bounds the memory for distances."""
    parts = [search(np.asarray(queries[first : first + BLOCK])) for first in range(0, len(queries), BLOCK)]
    return Nearest(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "distances")))


def _check(k: int, rows: int) -> None:
    if not 1 <= k <= rows:
        raise FreelightError(f"`k` (={k}) must be in 1..{rows}, the number of images")
