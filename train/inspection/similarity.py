"""Which images of a split are most alike to a picture, and how much of that short binary codes keep."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ...shards import Dataset, FreelightError
from ..checkpoint import Checkpoint
from ..evaluation.picture_files import cut_views, decode_sample, read_picture
from .codes import CodeConfig, train_codes
from .features import Space, Watch, extract_features, no_watch, vectors_of
from .retrieval import Nearest, nearest_codes, nearest_vectors, precision, recall

Vectors = npt.NDArray[np.float32]
Picture = tuple[npt.NDArray[np.uint8], str]
"""Pixels, uint8 (S, S, 3), and a caption."""

DEPTHS = (6, 50, 100)
"""How many of a list of neighbours are looked at."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """The images of a split that are searched, and their vectors (samples, features), in the order written."""

    trained: Checkpoint
    dataset: Dataset
    split: str
    space: Space
    vectors: Vectors

    @classmethod
    def open(
        cls,
        trained: Checkpoint,
        dataset: Dataset,
        split: str,
        folder: Path,
        *,
        space: Space = "fc7",
        watch: Watch = no_watch,
    ) -> "Gallery":
        """Map the split's vectors from `folder`, extracted now if need be."""
        vectors = extract_features(trained, dataset, split, folder, space=space, watch=watch)
        return cls(trained=trained, dataset=dataset, split=split, space=space, vectors=vectors)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The label of each image (samples,), -1 where there are none."""
        return self.dataset.split(self.split).samples["label"].astype(np.int64)

    def nearest(self, queries: Vectors, k: int) -> Nearest:
        """Return the k images nearest to each query (q, features)."""
        return nearest_vectors(queries, self.vectors, k)

    def pictures(self, rows: Sequence[int]) -> list[Picture]:
        """Return images with their class's name as caption."""
        split, classes = self.dataset.split(self.split), self.dataset.manifest.classes
        labels = split.samples["label"][list(rows)].tolist()
        captions = [
            classes[label].name if label >= 0 else split.sources[row] for row, label in zip(rows, labels, strict=True)
        ]
        return [(decode_sample(split.read(row)), caption) for row, caption in zip(rows, captions, strict=True)]

    def examples(self, rows: int) -> tuple[Vectors, list[Picture]]:
        """Return the vectors and pictures of so many images, of as many classes as possible."""
        chosen = spread_rows(self.labels, rows)
        return self.vectors[chosen], self.pictures(chosen)

    def queries_of(self, paths: Sequence[Path]) -> tuple[Vectors, list[Picture]]:
        """Return the vectors (n, features) of picture files, and the pictures, with their paths as captions."""
        pixels = [read_picture(path, self.trained.rescaling) for path in paths]
        views = torch.cat([cut_views(self.trained, one, 1) for one in pixels])
        vectors = vectors_of(self.trained, views, self.space).numpy()
        return vectors, [(one, str(path)) for one, path in zip(pixels, paths, strict=True)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Alike:
    """A query and the images nearest to it, with their distances."""

    query: Picture
    nearest: list[Picture]
    distances: list[float]

    def __str__(self) -> str:
        pairs = zip(self.nearest, self.distances, strict=True)
        return f"{self.query[1]}: {', '.join(f'{caption} {distance:.1f}' for (_, caption), distance in pairs)}"


def find_alike(gallery: Gallery, vectors: Vectors, pictures: Sequence[Picture], k: int) -> list[Alike]:
    """Return the k images nearest to each query, given by its vector and its picture."""
    found = gallery.nearest(vectors, k)
    return [
        Alike(query=query, nearest=gallery.pictures(rows), distances=distances)
        for query, rows, distances in zip(pictures, found.indices.tolist(), found.distances.tolist(), strict=True)
    ]


def spread_rows(labels: npt.NDArray[np.int64], rows: int) -> list[int]:
    """Return so many samples, of as many classes as possible: the first of each class, then the second of each."""
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    return [int(row) for row in np.lexsort((labels, turn))[:rows]]


def compare_codes(
    gallery: Gallery, queries: Gallery, pixels: tuple[Gallery, Gallery], codes: Sequence[CodeConfig]
) -> Iterator[str]:
    """Yield a table of how codes do against exact search of the vectors, and so pixels.

    Recall is of the exact 6 nearest among the first 6, 50 and 100 found; precision@6 is the share of the first 6 that
    are of the query's class, "-" where labels are lacking. A query's time is its share of all, without encoding it.
    """
    count = len(gallery.vectors)
    if count < DEPTHS[-1]:
        raise FreelightError(f"{gallery.split} has {count} images, fewer than the {DEPTHS[-1]} that the table looks at")
    recalls = "".join(f"recall@{depth}".rjust(12) for depth in DEPTHS)
    yield f"{'':24}{'bytes/image':>12}{'queries/s':>12}{recalls}{f'precision@{DEPTHS[0]}':>13}"
    asked = np.array(queries.vectors)  # in memory, so that the search alone is timed
    exact, speed = _timed(lambda: gallery.nearest(asked, DEPTHS[-1]), len(asked))
    truth = exact.indices[:, : DEPTHS[0]]
    width = gallery.vectors.shape[1]
    same = gallery.labels, queries.labels
    yield _row(f"fc7, exact, {width} numbers", 4 * width, speed, exact, truth, same)
    for config in codes:
        coder = train_codes(gallery.vectors, config)
        base, coded = coder.encode(gallery.vectors), coder.encode(asked)
        found, speed = _timed(lambda base=base, coded=coded: nearest_codes(coded, base, DEPTHS[-1]), len(asked))  # type: ignore[misc]
        yield _row(f"{config.bits}-bit codes", config.bits // 8, speed, found, truth, same)
    held, shown = pixels
    thumbnails = np.array(shown.vectors)
    found, speed = _timed(lambda: held.nearest(thumbnails, DEPTHS[-1]), len(asked))
    yield _row("pixels, exact, 32 x 32", 4 * held.vectors.shape[1], speed, found, truth, same)


def _timed(search: Callable[[], Nearest], queries: int) -> tuple[Nearest, float]:
    start = time.perf_counter()
    found = search()
    return found, queries / (time.perf_counter() - start)


def _row(
    name: str,
    size: int,
    speed: float,
    found: Nearest,
    truth: npt.NDArray[np.int64],
    labels: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> str:
    recalls = "".join(f"{recall(found.indices[:, :depth], truth):12.1%}" for depth in DEPTHS)
    labelled = all((of >= 0).all() for of in labels)
    share = f"{precision(found.indices[:, : DEPTHS[0]], *labels):.1%}" if labelled else "-"
    return f"{name:24}{size:12,}{speed:12,.0f}{recalls}{share:>13}"
