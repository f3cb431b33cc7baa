"""The mean image and the RGB eigenbasis of a split, from exact integer sums (paper sections 2 and 4.1).

Sums of uint8 RGB values and of their products fit in 64-bit integers for all of ImageNet, so partial sums merge
exactly, in any order, to the same bits.
"""

import dataclasses
import functools
import io
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA

from .atomic import atomic_write
from .dataset import Dataset
from .errors import FreelightError
from .executor import run_tasks

STATISTICS = "statistics.npz"

# Four points whose three contrasts are orthonormal and sum to zero: half of a Hadamard matrix without its first column.
_CONTRASTS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 2


class RGBMoments(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no type information
    """Sums over images of equal size, in scikit-learn's contract.

    Attributes: `n_images_`; `sum_image_`, int64 (H, W, 3); `sum_products_`, int64 (3, 3), the sum over all pixels of
    RGB outer products. All in 0-255 units, exact.
    """

    n_images_: int
    sum_image_: npt.NDArray[np.int64]
    sum_products_: npt.NDArray[np.int64]

    def partial_fit(self, images: npt.NDArray[np.uint8]) -> "RGBMoments":
        """Add uint8 images (n, H, W, 3), 0-255; return self."""
        # Each float64 product sum of one image stays far below 2**53, so it is exact in any order of summation.
        pixels = images.reshape(len(images), -1, 3).astype(np.float64)
        products = (pixels.transpose(0, 2, 1) @ pixels).astype(np.int64).sum(axis=0)
        return self._add(len(images), images.sum(axis=0, dtype=np.int64), products)

    def merge(self, other: "RGBMoments") -> "RGBMoments":
        """Add the sums of another estimator; return self. The order of merging does not change a bit."""
        return self._add(other.n_images_, other.sum_image_, other.sum_products_)

    def _add(self, images: int, sum_image: npt.NDArray[np.int64], products: npt.NDArray[np.int64]) -> "RGBMoments":
        if not hasattr(self, "n_images_"):
            self.n_images_, self.sum_image_, self.sum_products_ = images, sum_image.copy(), products.copy()
            return self
        if sum_image.shape != self.sum_image_.shape:
            raise FreelightError(f"images of shape {sum_image.shape} among images of shape {self.sum_image_.shape}")
        self.n_images_ += images
        self.sum_image_ += sum_image
        self.sum_products_ += products
        return self


@dataclass(frozen=True, eq=False)
class Statistics:
    """What `statistics.npz` holds, all in 0-255 units.

    mean_image: float32 (H, W, 3). mean: float64 (3,), RGB. covariance: float64 (3, 3), divisor pixels - 1.
    eigenvalues: (3,), descending. eigenvectors: (3, 3), in columns, RGB rows. pixels, images: counts.
    """

    mean_image: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    eigenvalues: npt.NDArray[np.float64]
    eigenvectors: npt.NDArray[np.float64]
    pixels: int
    images: int

    @classmethod
    def from_moments(cls, moments: RGBMoments) -> "Statistics":
        """Finish the sums: means, covariance, and scikit-learn's eigenbasis of it."""
        count = moments.n_images_ * moments.sum_image_.shape[0] * moments.sum_image_.shape[1]
        # Python's integers: exact until the one division, which is correctly rounded.
        total = [int(value) for value in moments.sum_image_.sum(axis=(0, 1))]
        products = moments.sum_products_.tolist()
        covariance = np.array(
            [
                [(count * products[i][j] - total[i] * total[j]) / (count * (count - 1)) for j in range(3)]
                for i in range(3)
            ]
        )
        mean = np.array([value / count for value in total])
        pca = fit_eigenbasis(mean, covariance)
        return cls(
            mean_image=(moments.sum_image_ / moments.n_images_).astype(np.float32),
            mean=mean,
            covariance=covariance,
            eigenvalues=pca.explained_variance_,
            eigenvectors=pca.components_.T,
            pixels=count,
            images=moments.n_images_,
        )

    @property
    def pca(self) -> PCA:
        """The fitted `sklearn.decomposition.PCA` of the RGB pixels."""
        return fit_eigenbasis(self.mean, self.covariance)

    def save(self, folder: Path) -> None:
        """Write `statistics.npz`, and for people `statistics.json` (without the mean image), into `folder`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        readable = {name: np.asarray(value).tolist() for name, value in fields.items() if name != "mean_image"}
        with atomic_write((folder / STATISTICS).with_suffix(".json")) as file:
            file.write(
                (json.dumps({"units": "0-255, RGB, eigenvectors in columns", **readable}, indent=1) + "\n").encode()
            )
        with atomic_write(folder / STATISTICS) as file:
            np.savez(file, **fields)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Statistics":
        """Read a dataset's `statistics.npz`. Raises `FreelightError` when `compute_pca` has not written it."""
        path = Path(folder) / STATISTICS
        try:
            with path.open("rb") as file, np.load(file) as archive:  # np.load leaves a broken archive it opened open
                content: dict[str, Any] = {field.name: archive[field.name] for field in dataclasses.fields(cls)}
        except FileNotFoundError:
            raise FreelightError(f"{path} is missing; make it with: compute_pca --shards {folder}") from None
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise FreelightError(f"{path} cannot be read ({error}); make it again with compute_pca") from None
        return cls(**{**content, "pixels": int(content["pixels"]), "images": int(content["images"])})


def fit_eigenbasis(mean: npt.NDArray[np.float64], covariance: npt.NDArray[np.float64]) -> PCA:
    """Fit scikit-learn's PCA to moments: to four pseudo-samples that have exactly this mean (3,) and covariance (3, 3).

    Agrees with the fit on all pixels to rounding, signs included.
    """
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # singular: a set of greyscale pictures, say
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(values.clip(0))
    return PCA().fit(mean + np.sqrt(3) * _CONTRASTS @ root.T)


def decode_shard(dataset: Dataset, split: str, shard: int) -> Iterable[npt.NDArray[np.uint8]]:
    """Yield the decoded images of one shard, uint8 (H, W, 3), in sample order."""
    opened = dataset.split(split)
    for index in np.flatnonzero(opened.samples["shard"] == shard).tolist():
        yield np.asarray(Image.open(io.BytesIO(opened.read(index))))
    opened.close()


def shard_moments(dataset: Dataset, split: str, shard: int) -> RGBMoments:
    """Return the sums over one shard."""
    moments = RGBMoments()
    for image in decode_shard(dataset, split, shard):
        moments.partial_fit(image[None])
    return moments


def compute_statistics(
    dataset: Dataset,
    split: str = "train",
    *,
    workers: int = 1,
    watch: Callable[[Iterable[RGBMoments], int], Iterable[RGBMoments]] = lambda parts, total: parts,
) -> Statistics:
    """Compute a split's statistics in one pass over its shards. The bits do not depend on `workers`.

    `watch(parts, total)` sees the sums of every shard as it is finished (`total`: images), for a progress bar.
    """
    info = dataset.split(split).info
    task = functools.partial(shard_moments, dataset, split)
    moments = RGBMoments()
    for part in watch(run_tasks(task, range(len(info.shards)), workers=workers), info.samples):
        moments.merge(part)
    return Statistics.from_moments(moments)
