"""ImageNet's published RGB statistics: a table that compares a dataset's with them, and constants for other programs.

The values are those of cuda-convnet2's `input_meta`: the ILSVRC-2010 training set at 256 x 256, 0-255 units, RGB.
"""

import numpy as np
import numpy.typing as npt

from .statistics import Statistics

PUBLISHED_MEAN = (127.305, 119.715, 104.913)
PUBLISHED_ROOTS = (121.780, 37.094, 19.721)
"""Square roots of the eigenvalues."""
PUBLISHED_AXES = ((0.5635, 0.5762, 0.5920), (0.7126, 0.0235, -0.7012), (0.4180, -0.8170, 0.3973))
"""Eigenvectors, one per row; their signs are arbitrary."""


def comparison_table(statistics: Statistics) -> str:
    """Return a text table of the statistics beside ImageNet's, with units and ratios."""
    lines = [
        f"{statistics.images} images, {statistics.pixels} pixels of {statistics.split}; RGB, grey levels (0-255)",
        "",
        "channel      mean  ImageNet's  difference  standard deviation",
    ]
    for name, mean, published, std in zip("RGB", statistics.mean, PUBLISHED_MEAN, statistics.std, strict=True):
        lines.append(f"{name:7}  {mean:8.3f}  {published:10.3f}  {mean - published:+10.3f}  {std:18.3f}")
    lines += ["", "axis  sqrt eigenvalue  ImageNet's  ratio  eigenvalue, 0-255  eigenvalue, 0-1  eigenvector (R, G, B)"]
    for axis, (value, root, published) in enumerate(
        zip(statistics.eigenvalues, statistics.eigenvalue_roots, PUBLISHED_ROOTS, strict=True)
    ):
        vector = statistics.eigenvectors[:, axis]
        lines.append(
            f"{axis + 1:4}  {root:15.3f}  {published:10.3f}  {root / published:5.3f}  {value:17.3f}  "
            f"{value / 255**2:15.6f}  {_vector(vector)}"
        )
        # The sign of an eigenvector is arbitrary: show ImageNet's with the sign of ours.
        theirs = np.array(PUBLISHED_AXES[axis])
        lines.append(f"{'of ImageNet':>76}  {_vector(theirs if theirs @ vector >= 0 else -theirs)}")
    return "\n".join(lines)


def constants_snippet(statistics: Statistics) -> str:
    """Return Python source code of the constants that other trainers need."""
    mean, std = (tuple(round(float(value), 4) for value in values) for values in (statistics.mean, statistics.std))
    values = tuple(round(float(value), 8) for value in statistics.eigenvalues / 255**2)
    rows = "".join(f"    {tuple(round(float(value), 6) for value in row)},\n" for row in statistics.eigenvectors)
    return (
        f"# RGB statistics of {statistics.images} images of {statistics.split}, dataset {statistics.fingerprint[:12]}\n"
        f"MEAN = {mean}  # 0-255; divide by 255 for pixels in 0-1\n"
        f"STD = {std}  # 0-255, over all pixels\n"
        f"EIGENVALUES = {values}  # of pixels in 0-1; multiply by 255**2 for 0-255\n"
        f"EIGENVECTORS = (  # rows R, G, B; a column an axis\n{rows})\n"
        "# lighting, pixels in 0-1, a ~ N(0, 0.1) three per image: pixels += EIGENVECTORS @ (a * EIGENVALUES)\n"
        "# as the 2012 code did: the same with the square roots of EIGENVALUES"
    )


def _vector(values: npt.NDArray[np.float64]) -> str:
    return " ".join(f"{value:+.4f}" for value in values)
