"""A gallery: the images of a split with their feature vectors, and the images most similar to a query."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...pipeline.pictures import one_of_each_class
from ...shards import Dataset
from ..checkpoint import Checkpoint
from ..evaluation.picture_files import cut_views, decode_sample, read_picture
from ..evaluation.rounds import Watch, no_watch
from .features import Space, compute_vectors, extract_features
from .nearest import Nearest, nearest_vectors
from .vector_file import Vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """pixels: uint8 (S, S, 3), RGB. caption: the class's name, else the source. key: in the dataset, else empty.

    source: path of the file that it was made from.
    """

    pixels: npt.NDArray[np.uint8]
    caption: str
    source: str
    key: str = ""

    def __str__(self) -> str:
        return " ".join(dict.fromkeys(filter(None, (self.key, self.caption, self.source))))

    def asdict(self) -> dict[str, str]:
        """Return what is known of it but the pixels."""
        return {"key": self.key, "caption": self.caption, "source": self.source}


@dataclass(frozen=True, kw_only=True, eq=False)
class Queries:
    """Pictures to search for. vectors: float32 (n, features), one per picture."""

    vectors: Vectors
    pictures: list[Picture]


@dataclass(frozen=True, kw_only=True, eq=False)
class SimilarImages:
    """A query and the gallery's images nearest to it, the nearest first, with their Euclidean distances."""

    query: Picture
    nearest: list[Picture]
    distances: list[float]

    def __str__(self) -> str:
        """A line for the query, and one for each image with its distance in three digits."""
        pairs = zip(self.nearest, self.distances, strict=True)
        return "\n".join(
            [str(self.query), *(f"  {_three_digits(distance):>6}  {picture}" for picture, distance in pairs)]
        )

    def asdict(self) -> dict[str, Any]:
        """Return all but the pixels as plain values."""
        pairs = zip(self.nearest, self.distances, strict=True)
        nearest = [{**picture.asdict(), "distance": distance} for picture, distance in pairs]
        return {"query": self.query.asdict(), "nearest": nearest}


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """The images of a split, in the order written. vectors: float32 (samples, features), in `space`."""

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
        """Map the split's vectors from `folder`; extract them first if they are not there. See `extract_features`."""
        vectors = extract_features(trained, dataset, split, folder, space=space, watch=watch)
        assert vectors is not None, "this process is rank 0"
        return cls(trained=trained, dataset=dataset, split=split, space=space, vectors=vectors)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The label of each image: int64 (samples,), -1 where unknown."""
        return self.dataset.split(self.split).samples["label"].astype(np.int64)

    def nearest(self, queries: Vectors, k: int) -> Nearest:
        """Return the k images nearest to each query vector (q, features)."""
        return nearest_vectors(queries, self.vectors, k)

    def find_similar(self, queries: Queries, k: int) -> list[SimilarImages]:
        """Return the k images nearest to each query, with their pixels."""
        nearest = self.nearest(queries.vectors, k)
        rows = zip(queries.pictures, nearest.indices.tolist(), nearest.distances.tolist(), strict=True)
        return [
            SimilarImages(query=query, nearest=self.pictures(indices), distances=distances)
            for query, indices, distances in rows
        ]

    def pictures(self, samples: Sequence[int]) -> list[Picture]:
        """Return images; the caption is the class's name, or the source's name where there is no label."""
        split, classes = self.dataset.split(self.split), self.dataset.manifest.classes
        labels = split.samples["label"][list(samples)].tolist()
        return [
            Picture(
                pixels=decode_sample(split.read(sample)),
                caption=classes[label].name if label >= 0 else split.sources[sample],
                source=split.sources[sample],
                key=split.key(sample),
            )
            for sample, label in zip(samples, labels, strict=True)
        ]

    def examples(self, count: int) -> Queries:
        """Return `count` images as queries, of as many classes as possible."""
        samples = one_of_each_class(self.labels, count)
        return Queries(vectors=self.vectors[samples], pictures=self.pictures(samples))

    def read_queries(self, paths: Sequence[Path]) -> Queries:
        """Return picture files as queries; they are rescaled as the network's training images were."""
        pictures = [
            Picture(pixels=read_picture(path, self.trained.rescaling), caption=str(path), source=str(path))
            for path in paths
        ]
        views = torch.cat([cut_views(self.trained, picture.pixels, 1) for picture in pictures])
        return Queries(vectors=compute_vectors(self.trained, views, self.space).numpy(), pictures=pictures)


def _three_digits(distance: float) -> str:
    return f"{distance:#.3g}".rstrip(".") if 1e-4 <= distance < 999.5 else f"{distance:.0f}"
