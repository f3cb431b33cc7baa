"""Exact sums of RGB pixels, and scikit-learn's eigenbasis from them (paper sections 2 and 4.1).

Sums of uint8 RGB values and of their products fit in 64-bit integers for all of ImageNet, so partial sums merge
exactly, in any order, to the same bits.
"""

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA

from ..base import FreelightError

# Sums of 256 values of at most 255 fit in uint16, and sums of 256 of their products are below 2**24, so exact in
# float32. Both types are faster than int64.
_CHUNK = 256
# Pixels that are summed at a time: a picture of 256 x 256.
_BLOCK = _CHUNK * 256

# Four points whose three contrasts are orthonormal and sum to zero: half of a Hadamard matrix without its first column.
_CONTRASTS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 2


class RGBMoments(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no type information
    """Sums over images: a scikit-learn estimator with `fit` and `partial_fit`.

    mean_image: whether to sum the images pixel by pixel, for which all must have one size.

    Attributes: `n_images_`, `n_pixels_`; `sum_`, int64 (3,), and `sum_products_`, int64 (3, 3), the sums over all
    pixels of RGB and of its outer products; `sum_image_`, int64 (H, W, 3), or None without `mean_image`. All in 0-255
    units, exact.

    It keeps scikit-learn's contract but for its input, which is uint8 images (n, H, W, 3) where other estimators take a
    table of floats (n, features). It therefore has no `n_features_in_`, and is no step of a pipeline over tables.
    """

    n_images_: int
    n_pixels_: int
    sum_: npt.NDArray[np.int64]
    sum_products_: npt.NDArray[np.int64]
    sum_image_: npt.NDArray[np.int64] | None

    def __init__(self, mean_image: bool = True) -> None:
        self.mean_image = mean_image

    def fit(self, X: npt.NDArray[np.uint8], y: object = None) -> "RGBMoments":  # noqa: N803  # scikit-learn's name
        """Forget earlier images and add uint8 images (n, H, W, 3), 0-255; return self. y: ignored."""
        _check_images(X)
        for name in ("n_images_", "n_pixels_", "sum_", "sum_products_", "sum_image_"):
            self.__dict__.pop(name, None)
        return self.partial_fit(X)

    def partial_fit(self, X: npt.NDArray[np.uint8], y: object = None) -> "RGBMoments":  # noqa: N803
        """Add uint8 images (n, H, W, 3), 0-255; return self. y: ignored. Raises `FreelightError` for other arrays."""
        images = _check_images(X)
        count = images.shape[1] * images.shape[2]
        planes = np.zeros((3, -(-min(count, _BLOCK) // _CHUNK), _CHUNK), np.float32)  # of a block, padded with zeros
        flat = planes.reshape(3, -1)
        for first in range(0, len(images), _CHUNK):
            chunk = images[first : first + _CHUNK]
            sum_image = np.zeros(chunk.shape[1:], np.uint16) if self.mean_image else None
            total, products = np.zeros(3, np.int64), np.zeros((3, 3), np.int64)
            for image in chunk:
                if sum_image is not None:
                    np.add(sum_image, image, out=sum_image)
                pixels = image.reshape(-1, 3)
                for start in range(0, count, _BLOCK):
                    block = pixels[start : start + _BLOCK].T
                    flat[:, : block.shape[1]] = block
                    if start:
                        flat[:, block.shape[1] :] = 0
                    products += np.vecdot(planes[:, None], planes[None]).astype(np.int64).sum(axis=2)
                    if sum_image is None:
                        total += planes.sum(axis=2).astype(np.int64).sum(axis=1)
            if sum_image is not None:
                total = sum_image.sum(axis=0, dtype=np.int64).sum(axis=0)
            wide = None if sum_image is None else sum_image.astype(np.int64)
            self.add_sums(len(chunk), len(chunk) * count, total, products, wide)
        return self

    def merge(self, other: "RGBMoments") -> "RGBMoments":
        """Add the sums of another estimator; return self. Any order of merging gives the same bits.

        An estimator without images adds nothing.
        """
        if not hasattr(other, "n_images_"):
            return self
        return self.add_sums(other.n_images_, other.n_pixels_, other.sum_, other.sum_products_, other.sum_image_)

    def could_be_pixels(self) -> bool:
        """Tell whether images of values in 0..255 can have these sums: ranges, symmetry, and no negative variance."""
        if not (
            (self.sum_image_ is None or _within(self.sum_image_, 255 * self.n_images_))
            and _within(self.sum_, 255 * self.n_pixels_)
            and _within(self.sum_products_, 255**2 * self.n_pixels_)
            and (self.sum_products_ == self.sum_products_.T).all()
        ):
            return False
        total = self.sum_.astype(object)  # Python's integers are exact
        scatter = self.n_pixels_ * self.sum_products_.astype(object) - np.outer(total, total)
        lowest = np.linalg.eigvalsh(scatter.astype(np.float64))[0]
        return bool(min(scatter.diagonal()) >= 0 and lowest >= -1e-9 * float(scatter.trace()))

    def add_sums(
        self,
        images: int,
        pixels: int,
        total: npt.NDArray[np.int64],
        products: npt.NDArray[np.int64],
        sum_image: npt.NDArray[np.int64] | None,
    ) -> "RGBMoments":
        """Add the sums of other images, named as the attributes; return self. Raises `FreelightError` for another size.

        sum_image: not used without `mean_image`.
        """
        if not self.mean_image:
            sum_image = None
        elif sum_image is None:
            raise FreelightError("sums without a mean image cannot be added to sums with one; give `mean_image=False`")
        if not hasattr(self, "n_images_"):
            self.n_images_, self.n_pixels_ = images, pixels
            self.sum_, self.sum_products_ = total.copy(), products.copy()
            self.sum_image_ = None if sum_image is None else sum_image.copy()
            return self
        if sum_image is not None and self.sum_image_ is not None:
            if sum_image.shape != self.sum_image_.shape:
                raise FreelightError(
                    f"images of shape {sum_image.shape} cannot be added to images of shape {self.sum_image_.shape}; "
                    "for images of several sizes give `mean_image=False`"
                )
            self.sum_image_ += sum_image
        self.n_images_ += images
        self.n_pixels_ += pixels
        self.sum_ += total
        self.sum_products_ += products
        return self


def _within(values: npt.NDArray[np.int64], most: int) -> bool:
    return int(values.min()) >= 0 and int(values.max()) <= most


def _check_images(images: object) -> npt.NDArray[np.uint8]:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        kind = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise FreelightError(f"images must be a NumPy array of uint8, 0-255, RGB; these are {kind}")
    if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise FreelightError(f"images must have the shape (n, H, W, 3), none of them 0; these have {images.shape}")
    return images


def fit_eigenbasis(mean: npt.NDArray[np.float64], covariance: npt.NDArray[np.float64]) -> PCA:
    """Fit scikit-learn's PCA to a mean (3,) and a covariance (3, 3), by four pseudo-samples that have exactly these.

    The result, signs included, equals the fit to all pixels, except for rounding. Raises `FreelightError` if all pixels
    have the same colour.
    """
    if not covariance.any():
        raise FreelightError(
            "all pixels have the same colour, so there are no principal axes; give pictures of several"
        )
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # singular: a set of greyscale pictures, say
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(values.clip(0))
    return PCA().fit(mean + np.sqrt(3) * _CONTRASTS @ root.T)
