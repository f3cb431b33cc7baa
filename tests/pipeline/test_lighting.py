"""Lighting noise has the sizes that docs/design/paper.md section 2 gives, in every mode."""

import dataclasses
import math

import numpy as np
import pytest

from freelight.pipeline import Lighting, LightingMode, draw_epoch
from freelight.shards import FreelightError, Statistics

# ImageNet's, 0-255 units: the eigenvalues' square roots, and the eigenvectors (RGB).
ROOTS = (121.780, 37.094, 19.721)
AXES = ((0.5635, 0.5762, 0.5920), (0.7126, 0.0235, -0.7012), (0.4180, -0.8170, 0.3973))


@pytest.fixture(scope="module")
def imagenet() -> Statistics:
    columns = np.array(AXES).T
    return Statistics(
        mean_image=np.full((256, 256, 3), 115, np.float32),
        mean=np.array([127.305, 119.715, 104.913]),
        covariance=columns @ np.diag(np.square(ROOTS)) @ columns.T,
        eigenvalues=np.square(ROOTS),
        eigenvectors=columns,
        pixels=1,
        images=1,
        fingerprint="",
        split="train",
    )


def formula(mode: str, strength: float, x: np.ndarray, statistics: Statistics) -> list[float]:
    """The plain formula, one channel at a time: sum over axes j of p_j[channel] * a_j * size_j, a_j = strength *
    x_j."""
    shift = []
    for channel in range(3):
        total = 0.0
        for j in range(3):
            alpha = strength * float(x[j])
            if mode == "eigenvalue":
                of_unit_pixels = float(statistics.eigenvalues[j]) / 255**2
                total += float(statistics.eigenvectors[channel, j]) * alpha * of_unit_pixels * 255
            elif mode == "std":
                total += float(statistics.eigenvectors[channel, j]) * alpha * math.sqrt(statistics.eigenvalues[j])
        shift.append(total)
    return shift


@pytest.mark.parametrize("mode", ["eigenvalue", "std", "off"])
@pytest.mark.parametrize("strength", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("of", ["imagenet", "drawn"])
def test_shifts_are_the_formula(
    mode: LightingMode, strength: float, of: str, imagenet: Statistics, statistics: Statistics
) -> None:
    basis = imagenet if of == "imagenet" else statistics
    draws = draw_epoch(50, seed=0, epoch=0).lighting
    shifts = Lighting(mode=mode, strength=strength).shifts(draws, basis)
    assert shifts.dtype == np.float32
    for x, shift in zip(draws, shifts, strict=True):
        assert shift.tolist() == pytest.approx(formula(mode, strength, x, basis), abs=1e-4)


@pytest.mark.parametrize(("mode", "grey_levels"), [("eigenvalue", 5.8), ("std", 12.2)])
def test_the_jitter_along_imagenets_main_axis(mode: LightingMode, grey_levels: float, imagenet: Statistics) -> None:
    draws = draw_epoch(200_000, seed=0, epoch=0).lighting
    along = Lighting(mode=mode).shifts(draws, imagenet) @ np.array(AXES[0])
    assert along.std() == pytest.approx(grey_levels, abs=0.1)


def test_std_is_as_much_stronger_on_each_axis_as_paper_md_says(imagenet: Statistics) -> None:
    std, eigenvalue = (Lighting(mode=mode).deviations(imagenet) for mode in ("std", "eigenvalue"))
    assert std == pytest.approx([12.178, 3.709, 1.972], abs=1e-3)
    assert std / eigenvalue == pytest.approx(255 / np.array(ROOTS))
    assert Lighting(mode="off").deviations(imagenet).tolist() == [0, 0, 0]
    assert Lighting(mode="std", divisor=1.1).deviations(imagenet).tolist() == std.tolist(), "divided with the image"


def test_the_noise_follows_the_principal_axes(statistics: Statistics) -> None:
    """The covariance of the shifts has the images' eigenvectors: each draw belongs to one axis, the largest first."""
    draws = draw_epoch(200_000, seed=0, epoch=0).lighting
    shifts = Lighting(mode="std").shifts(draws, statistics).astype(np.float64)
    assert np.cov(shifts.T) == pytest.approx(0.01 * statistics.covariance, rel=0.05, abs=1)


def test_a_mirrored_axis_only_mirrors_the_draw(imagenet: Statistics) -> None:
    """The sign of an eigenvector is arbitrary: it may only change the sign of the shift along it."""
    mirrored = dataclasses.replace(imagenet, eigenvectors=imagenet.eigenvectors * [-1, 1, 1])
    draws = draw_epoch(20, seed=0, epoch=0).lighting
    ours = Lighting().shifts(draws, imagenet)
    theirs = Lighting().shifts(draws * np.float32([-1, 1, 1]), mirrored)
    assert theirs == pytest.approx(ours, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "eigen"}, "lighting `mode` 'eigen' is not one of eigenvalue, std, off"),
        ({"strength": -0.1}, r"lighting `strength` \(=-0.1\) must be 0 or more"),
        ({"strength": math.nan}, r"lighting `strength` \(=nan\) must be 0 or more"),
        ({"strength": "0.1"}, r"`strength` \(='0.1'\) must be a number"),
        ({"divisor": None}, r"`divisor` \(=None\) must be a number"),
        ({"divisor": 0.0}, r"lighting `divisor` \(=0.0\) must be positive"),
        ({"divisor": math.inf}, r"lighting `divisor` \(=inf\) must be positive"),
    ],
)
def test_wrong_settings_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        Lighting(**arguments)  # type: ignore[arg-type]
