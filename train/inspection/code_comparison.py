"""Compare binary codes with exact search: memory, speed, and how many of the nearest images they still find."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...shards import FreelightError
from .binary_codes import CodeConfig, train_codes
from .gallery import Gallery
from .nearest import Indices, Nearest, nearest_codes, precision, recall

DEPTHS = (6, 50, 100)
"""Recall is measured among this many of the first images found; precision among the first of these numbers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchMethod:
    """One row of the table. size: bytes per image. search: returns the nearest `DEPTHS[-1]` images of all queries."""

    name: str
    size: int
    search: Callable[[], Nearest]


def compare_codes(
    gallery: Gallery, queries: Gallery, pixels: tuple[Gallery, Gallery], codes: Sequence[CodeConfig]
) -> Iterator[str]:
    """Yield the lines of a table: exact search of fc7 vectors, search of each code, and exact search of pixels.

    pixels: gallery and queries once more, in the space of pixels. Recall counts the exact 6 nearest images among the
    first 6, 50 and 100 found. precision@6 is the share of the first 6 that have the query's class; "-" if labels are
    missing. Queries per second do not include computing the query's vector or code.
    """
    count = len(gallery.vectors)
    if count < DEPTHS[-1]:
        raise FreelightError(
            f"{gallery.split} has {count} images; comparing codes needs at least {DEPTHS[-1]}: omit `bits`"
        )
    recalls = "".join(f"recall@{depth}".rjust(12) for depth in DEPTHS)
    yield f"{'':24}{'bytes/image':>12}{'queries/s':>12}{recalls}{f'precision@{DEPTHS[0]}':>13}"
    exact: Indices | None = None
    for method in _methods(gallery, queries, pixels, codes):
        start = time.perf_counter()
        found = method.search()
        speed = len(queries.vectors) / (time.perf_counter() - start)
        if exact is None:  # the first method is the exact one
            exact = found.indices[:, : DEPTHS[0]]
        yield _row(method, speed, found, exact, gallery, queries)


def _methods(
    gallery: Gallery, queries: Gallery, pixels: tuple[Gallery, Gallery], codes: Sequence[CodeConfig]
) -> Iterator[SearchMethod]:
    """Yield the methods; each is prepared only when it is due, outside the time of its search."""
    vectors = np.array(queries.vectors)  # in memory, so that only the search is timed
    features = gallery.vectors.shape[1]
    yield SearchMethod(
        name=f"fc7, exact, {features} numbers",
        size=4 * features,
        search=lambda: gallery.nearest(vectors, DEPTHS[-1]),
    )
    for config in codes:
        coder = train_codes(gallery.vectors, config)
        base, coded = coder.encode(gallery.vectors), coder.encode(vectors)
        yield SearchMethod(
            name=f"{config.bits}-bit codes",
            size=config.bits // 8,
            search=lambda base=base, coded=coded: nearest_codes(coded, base, DEPTHS[-1]),  # type: ignore[misc]
        )
    pixel_gallery, pixel_queries = pixels
    thumbnails = np.array(pixel_queries.vectors)
    yield SearchMethod(
        name="pixels, exact, 32 x 32",
        size=4 * pixel_gallery.vectors.shape[1],
        search=lambda: pixel_gallery.nearest(thumbnails, DEPTHS[-1]),
    )


def _row(method: SearchMethod, speed: float, found: Nearest, exact: Indices, gallery: Gallery, queries: Gallery) -> str:
    recalls = "".join(f"{recall(found.indices[:, :depth], exact):12.1%}" for depth in DEPTHS)
    labels, query_labels = gallery.labels, queries.labels
    labelled = bool((labels >= 0).all() and (query_labels >= 0).all())
    share = f"{precision(found.indices[:, : DEPTHS[0]], labels, query_labels):.1%}" if labelled else "-"
    return f"{method.name:24}{method.size:12,}{speed:12,.0f}{recalls}{share:>13}"
