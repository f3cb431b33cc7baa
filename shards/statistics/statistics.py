"""The statistics of a split: mean image, RGB mean and covariance, eigenbasis; and the file that holds them.

The file names its dataset and split. `Statistics.load` refuses a dataset directory with the file of another dataset.
"""

import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..base import Array, FreelightError, atomic_write, check, plain_name, read_arrays, record, sha256_text
from ..dataset import Dataset
from ..images import PILLOWS_LIMIT

if TYPE_CHECKING:  # scikit-learn takes longer to import than the rest, and the loader and the trainer do not need it
    from sklearn.decomposition import PCA

    from .moments import RGBMoments

STATISTICS = "statistics.npz"
TRAINING_SPLIT = "train"
"""The split whose statistics `<dataset>/statistics.npz` holds."""

UNITS = (
    "pixels are RGB, 0-255; names ending in _01 are for pixels divided by 255. mean, std, eigenvalue_roots: that unit; "
    "covariance, eigenvalues: its square, divisor pixels - 1. eigenvectors: in columns, their rows R, G, B. "
    "eigenvalues: descending. mean_image: height, width, RGB"
)


@dataclass(frozen=True, eq=False)
class Statistics:
    """The statistics of a split, in units of grey levels, 0-255.

    mean_image: float32 (S, S, 3), or None: only squares of one size have one; `require_mean_image` says so. mean:
    float64 (3,), RGB, over all pixels. covariance: float64 (3, 3), divisor pixels - 1.
    eigenvalues: (3,), descending. eigenvectors: (3, 3), one per column, RGB rows. pixels, images: counts.
    fingerprint: of the dataset, `Manifest.fingerprint`. split: the split's name.
    """

    mean_image: npt.NDArray[np.float32] | None
    mean: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    eigenvalues: npt.NDArray[np.float64]
    eigenvectors: npt.NDArray[np.float64]
    pixels: int
    images: int
    fingerprint: str
    split: str

    @classmethod
    def from_moments(cls, moments: "RGBMoments", *, fingerprint: str, split: str) -> "Statistics":
        """Compute means, covariance and scikit-learn's eigenbasis from the sums over a split."""
        from .moments import fit_eigenbasis

        # Python's integers are exact; only the division rounds, once.
        count, total, products = moments.n_pixels_, moments.sum_.tolist(), moments.sum_products_.tolist()
        covariance = np.array(
            [
                [(count * products[i][j] - total[i] * total[j]) / (count * max(count - 1, 1)) for j in range(3)]
                for i in range(3)
            ]
        )
        mean = np.array([value / count for value in total])
        pca = fit_eigenbasis(mean, covariance)
        sum_image = moments.sum_image_
        return cls(
            mean_image=None if sum_image is None else (sum_image / moments.n_images_).astype(np.float32),
            mean=mean,
            covariance=covariance,
            eigenvalues=pca.explained_variance_,
            eigenvectors=pca.components_.T,
            pixels=count,
            images=moments.n_images_,
            fingerprint=fingerprint,
            split=split,
        )

    def require_mean_image(self) -> npt.NDArray[np.float32]:
        """Return `mean_image`. Raises `FreelightError` if there is none."""
        if self.mean_image is None:
            raise FreelightError(
                f"the statistics of {self.split} of the dataset {self.fingerprint[:12]} have no mean image, because "
                "the images are not squares of one size; subtract the channel means, or make squares with: "
                "freelight make-shards --images IMAGES --out SQUARES --geometry square"
            )
        return self.mean_image

    @property
    def pca(self) -> "PCA":
        """The fitted `sklearn.decomposition.PCA` of the RGB pixels."""
        from .moments import fit_eigenbasis

        return fit_eigenbasis(self.mean, self.covariance)

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Standard deviations of R, G and B, grey levels: (3,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def eigenvalue_roots(self) -> npt.NDArray[np.float64]:
        """Standard deviations along the principal axes, grey levels: (3,), descending."""
        return np.sqrt(self.eigenvalues)

    def is_of(self, dataset: Dataset, split: str) -> bool:
        """Tell whether these were computed from this split of the dataset, or of a copy of it."""
        side = None if self.mean_image is None else len(self.mean_image)
        return (self.fingerprint, self.split, side) == (dataset.fingerprint, split, dataset.image_size)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `path`, an `.npz` file or a dataset directory, and a JSON file beside it without the mean image.

        The files also hold values that other programs need, in both units: see `UNITS`. The JSON file is written first,
        so both are complete if the `.npz` exists. Raises `FreelightError` for a dataset directory and a split other
        than `train`.
        """
        file_path = Path(path)
        if file_path.suffix != ".npz":
            if self.split != TRAINING_SPLIT:
                raise FreelightError(
                    f"{file_path / STATISTICS} is for the split {TRAINING_SPLIT}, not {self.split}; name another file"
                )
            file_path /= STATISTICS
        content = self._content()
        with atomic_write(file_path.with_suffix(".json")) as file:
            file.write((json.dumps(self.asdict(), indent=1) + "\n").encode())
        with atomic_write(file_path) as file:
            np.savez(file, **{name: value for name, value in content.items() if value is not None})

    def asdict(self) -> dict[str, Any]:
        """Return all but the mean image as plain values: what the JSON file holds."""
        return {name: np.asarray(value).tolist() for name, value in self._content().items() if name != "mean_image"}

    def _content(self) -> dict[str, Any]:
        """Return what the files hold."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "std": self.std,
            "eigenvalue_roots": self.eigenvalue_roots,
            "mean_01": self.mean / 255,
            "std_01": self.std / 255,
            "eigenvalues_01": self.eigenvalues / 255**2,
            "eigenvalue_roots_01": self.eigenvalue_roots / 255,
            "units": UNITS,
        }

    @classmethod
    def load(cls, source: "Dataset | str | os.PathLike[str]") -> "Statistics":
        """Read the statistics of a dataset, opened or its directory, or the `.npz` file at a path.

        Raises `FreelightError` if the file is missing, unfinished or damaged. The file of a dataset must belong to its
        training split. An `.npz` file may belong to any dataset.
        """
        if not isinstance(source, Dataset):
            path = Path(source)
            if path.suffix == ".npz":
                return cls._read(path, remedy=f"freelight compute-pca --shards DATASET --out {path}")
            source = Dataset(path)
        remedy = f"freelight compute-pca --shards {source.place}"
        where = f"{source.place}/{STATISTICS}"
        found = cls._read(source.folder / STATISTICS, where=where, remedy=remedy)
        if not found.is_of(source, TRAINING_SPLIT):
            if found.fingerprint in source.parents:
                other = f"the dataset before pictures were appended ({found.fingerprint[:12]})"
            elif found.fingerprint != source.fingerprint:
                other = f"another dataset ({found.fingerprint[:12]})"
            else:
                other = f"the split {found.split}" if found.split != TRAINING_SPLIT else "images of another size"
            raise FreelightError(
                f"{where} is for {other}, not for this dataset's {TRAINING_SPLIT} "
                f"({source.fingerprint[:12]}); make it again with: {remedy}"
            )
        return found

    def check(self, *, where: object, remedy: str) -> None:
        """Raise `FreelightError` unless the values can be those of pixels: for statistics from a file, `where`.

        The arrays must have the dtypes and shapes of `Statistics`, and be finite.
        """
        with np.errstate(all="ignore"):  # values that are too large overflow, and do not pass
            faults = [fault for holds, fault in self._claims() if not holds]
        if faults:
            raise FreelightError(f"{where}: {faults[0]}; {remedy}")
        names = {"fingerprint": self.fingerprint, "split": self.split}
        check(names, record({"fingerprint": sha256_text, "split": plain_name}), where=where, remedy=remedy)

    def _claims(self) -> Iterator[tuple[bool, str]]:
        """Yield what must hold for the statistics of pixels, and the words for it."""
        yield (self.images >= 1, f"images (={self.images}) must be at least 1")
        if self.mean_image is None:
            least, most = self.images, self.images * PILLOWS_LIMIT
        else:
            least = most = self.images * self.mean_image[..., 0].size
        yield (
            least <= self.pixels <= most,
            f"pixels (={self.pixels}) must be those of {self.images} images of this size",
        )
        image = self.mean if self.mean_image is None else self.mean_image
        yield (_within(image, 255) and _within(self.mean, 255), "mean_image and mean must lie in 0..255")
        yield (np.allclose(self.covariance, self.covariance.T), "covariance must be symmetric")
        yield (_within(np.diag(self.covariance), 255**2), "covariance must have variances in 0..255**2")
        yield (_within(self.eigenvalues, 3 * 255**2), "eigenvalues must lie in 0..3*255**2")
        yield (bool(np.all(np.diff(self.eigenvalues) <= 0)), "eigenvalues must descend")
        yield (
            np.allclose(self.eigenvectors.T @ self.eigenvectors, np.eye(3), atol=1e-3),
            "eigenvectors must be orthonormal",
        )

    @classmethod
    def _read(cls, path: Path, *, remedy: str, where: object = None) -> "Statistics":
        where = where or path
        remedy_again = f"make it again with: {remedy}"
        try:
            found: dict[str, Any] = read_arrays(path, _ARRAYS, remedy=remedy_again, optional=("mean_image",))
        except FileNotFoundError:
            if unfinished_path(path).exists():
                raise FreelightError(f"{where} is unfinished; continue with: {remedy}") from None
            raise FreelightError(f"{where} is missing; make it with: {remedy}") from None
        content = {name: value.item() if value.shape == () else value for name, value in found.items()}
        statistics = cls(**{"mean_image": None, **content})
        statistics.check(where=where, remedy=remedy_again)
        return statistics


_ARRAYS = {
    "mean_image": Array(np.float32, ("side", "side", 3)),
    "mean": Array(np.float64, (3,)),
    "covariance": Array(np.float64, (3, 3)),
    "eigenvalues": Array(np.float64, (3,)),
    "eigenvectors": Array(np.float64, (3, 3)),
    "pixels": Array(np.int64, ()),
    "images": Array(np.int64, ()),
    "fingerprint": Array(np.str_, ()),
    "split": Array(np.str_, ()),
}


def _within(values: npt.NDArray[Any], most: float) -> bool:
    return bool(((values >= 0) & (values <= most)).all())


def unfinished_path(path: Path) -> Path:
    """Return the file that holds the sums of finished shards until the statistics file `path` is written."""
    return path.with_name(f".{path.name}.partial")
