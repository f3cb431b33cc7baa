"""What compute_pca prints: our values beside ImageNet's, and constants for other programs."""

import re
from typing import Any

import numpy as np
import pytest

from freelight.shards import Dataset, Statistics
from freelight.shards.statistics import (
    PUBLISHED_AXES,
    PUBLISHED_MEAN,
    PUBLISHED_ROOTS,
    comparison_table,
    constants_snippet,
)


@pytest.fixture(scope="module")
def statistics(dataset: Dataset) -> Statistics:
    return Statistics.load(dataset.folder)


def test_the_published_values_are_those_of_paper_md() -> None:
    """They are also consistent: the axes are a basis, within their four digits, and the 0-1 table follows from the
    roots."""
    assert PUBLISHED_MEAN == (127.305, 119.715, 104.913)
    assert PUBLISHED_ROOTS == (121.780, 37.094, 19.721)
    axes = np.array(PUBLISHED_AXES)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=5e-4)
    # The table of most other code, .2175 .0188 .0045, of another 10,000 images or so.
    np.testing.assert_allclose(np.square(PUBLISHED_ROOTS) / 255**2, (0.2281, 0.0212, 0.0060), atol=5e-5)


def numbers(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"[+-]?\d+\.\d+", line)]


def test_the_table_has_every_number_beside_the_published_one(statistics: Statistics) -> None:
    first, _, header, *channels_and_axes = comparison_table(statistics).splitlines()
    assert first == f"60 images, {60 * 65536} pixels of train; RGB, grey levels (0-255)"
    channels, axes = channels_and_axes[:3], channels_and_axes[5:]
    assert header.split() == ["channel", "mean", "ImageNet's", "difference", "standard", "deviation"]
    for index, line in enumerate(channels):
        assert line.startswith("RGB"[index])
        mean, published = statistics.mean[index], PUBLISHED_MEAN[index]
        assert numbers(line) == pytest.approx([mean, published, mean - published, statistics.std[index]], abs=6e-4)
    for index, (line, theirs) in enumerate(zip(axes[::2], axes[1::2], strict=True)):
        value, vector = statistics.eigenvalues[index], statistics.eigenvectors[:, index]
        root, published, ratio, *rest = numbers(line)
        assert (root, published, ratio) == pytest.approx(
            (value**0.5, PUBLISHED_ROOTS[index], value**0.5 / PUBLISHED_ROOTS[index]), abs=6e-4
        )
        assert rest == pytest.approx([value, value / 255**2, *vector], abs=6e-4)
        aligned = np.array(numbers(theirs))
        assert np.abs(aligned).tolist() == np.abs(PUBLISHED_AXES[index]).tolist()
        assert aligned @ vector >= 0
        assert line.index(f"{vector[0]:+.4f}") == theirs.index(f"{aligned[0]:+.4f}"), "one below the other"


def test_the_snippet_is_python_with_the_numbers_in_the_units_it_says(statistics: Statistics) -> None:
    names: dict[str, Any] = {}
    exec(constants_snippet(statistics), names)
    np.testing.assert_allclose(names["MEAN"], statistics.mean, atol=1e-4)
    np.testing.assert_allclose(names["STD"], statistics.std, atol=1e-4)
    np.testing.assert_allclose(names["EIGENVALUES"], statistics.eigenvalues / 255**2, atol=1e-8)
    np.testing.assert_allclose(names["EIGENVECTORS"], statistics.eigenvectors, atol=1e-6)
    assert statistics.fingerprint[:12] in constants_snippet(statistics)
