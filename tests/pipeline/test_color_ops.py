"""Pixel ops: the graph against their reference, the reference against Pillow, and the share of changed images."""

import colorsys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from applied import of_graph, of_reference
from PIL import Image, ImageEnhance, ImageOps

from freelight.pipeline import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    Lighting,
    Loader,
    Op,
    RandomCrop,
    Solarize,
    Transform,
    draw_epoch,
)
from freelight.shards import Dataset, FreelightError

JITTER = ColorJitter(p=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
OPS: tuple[Op, ...] = (JITTER, GaussianBlur(p=0.5), Grayscale(p=0.5), Solarize(p=0.5, threshold=100))


def transform_of(*ops: Op) -> Transform:
    lighting = Lighting(mode="off")
    return Transform(crop=RandomCrop(size=48), mean="none", lighting=lighting, dtype="uint8", ops=ops)


@pytest.mark.parametrize("ops", [*((op,) for op in OPS), OPS], ids=repr)
def test_the_graph_is_the_reference(
    ops: tuple[Op, ...], dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    """Within one grey level of rounding; where it crosses the threshold of Solarize, a value differs by more."""
    transform = transform_of(*ops)
    loader = Loader(dataset, "train", batch_size=20, transform=transform, seed=3, extras=("samples",))
    draws = draw_epoch(60, seed=3, epoch=0)
    batch = next(iter(loader))
    errors = [
        np.abs(image.astype(int) - transform.apply(decoded["train"][sample], draws, sample, None))
        for sample, image in zip(batch.samples.tolist(), batch.images.numpy(), strict=True)
    ]
    assert np.mean(errors) < 0.1
    assert np.mean(np.array(errors) > 1) < 1e-3


@pytest.mark.parametrize(
    ("op", "of_pillow"),
    [
        (Grayscale(p=1.0), lambda image: ImageOps.grayscale(image).convert("RGB")),
        *((Solarize(p=1.0, threshold=t), lambda image, t=t: ImageOps.solarize(image, t)) for t in (0, 1, 128, 256)),
    ],
    ids=["grayscale", "solarize-0", "solarize-1", "solarize-128", "solarize-256"],
)
def test_the_reference_is_pillows(
    op: Op, of_pillow: Callable[[Image.Image], Image.Image], decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    image = decoded["train"][0]
    expected = np.asarray(of_pillow(Image.fromarray(image))).astype(int)
    assert np.abs(of_reference(op, image) - expected).max() <= (1 if isinstance(op, Grayscale) else 0)


@pytest.mark.parametrize("factor", [0.0, 0.3, 0.8, 1.4, 2.0])
@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_a_jitters_factor_is_pillows(
    name: str, enhance: type[ImageEnhance._Enhance], factor: float, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    image = decoded["train"][0]
    expected = np.asarray(enhance(Image.fromarray(image)).enhance(factor)).astype(int)
    errors = np.abs(of_reference(ColorJitter(**{name: (factor, factor)}), image) - expected)
    assert errors.mean() <= 1
    assert errors.max() <= 2


@pytest.mark.parametrize("hue", [-0.5, -0.35, -0.1, 0.05, 0.2])
def test_a_hue_is_that_of_hsv(hue: float) -> None:
    """By Python's own formulas, for colours, greys and equal channels; the graph equals the reference to the bit."""
    colors = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    colors[:4] = colors[:4, :, :1]
    colors[4:8, :, 1] = colors[4:8, :, 0]
    colors[8:12, :, 2] = colors[8:12, :, 1]
    found = of_reference(ColorJitter(hue=(hue, hue)), colors)
    for color, turned in zip(colors.reshape(-1, 3) / 255, found.reshape(-1, 3), strict=True):
        at, saturation, value = colorsys.rgb_to_hsv(*color)
        assert turned == pytest.approx(
            np.multiply(colorsys.hsv_to_rgb((at + hue) % 1, saturation, value), 255), abs=0.51
        )
    assert np.array_equal(of_graph(ColorJitter(hue=(hue, hue)), colors), found)


def test_a_jitter_feeds_only_what_can_change_something() -> None:
    assert list(ColorJitter(brightness=0.4, saturation=(0.5, 1.0)).feeds()) == ["brightness", "saturation"]
    assert list(ColorJitter(hue=0.1).feeds()) == ["hue"]
    assert list(ColorJitter(hue=0.2).feeds()) == ["hue", "exchanges"]
    assert not ColorJitter(p=0.8).feeds()


def test_a_jitters_factors_are_uniform() -> None:
    """Over 10^5 occurrences, three seeds: Kolmogorov-Smirnov distance below 1.95 / sqrt(n), alpha 0.001."""
    ranges = {"brightness": (0.6, 1.4), "contrast": (0.6, 1.4), "saturation": (0.6, 1.4), "hue": (-0.1, 0.1)}
    for seed in range(3):
        factors = JITTER.factors(JITTER.draw(np.random.default_rng(seed), 100_000))
        for name, (low, high) in ranges.items():
            same = factors[name] == (name != "hue")
            assert abs(same.mean() - 0.2) < 4 * (0.8 * 0.2 / 1e5) ** 0.5
            places = np.sort((factors[name][~same] - low) / (high - low))
            assert np.abs(places - np.arange(len(places)) / len(places)).max() < 1.95 / len(places) ** 0.5


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0, 4.0])
def test_a_blur_is_torchvisions(sigma: float, decoded: dict[str, npt.NDArray[np.uint8]]) -> None:
    """Restated in torch: a kernel of 51 x 51 pixels on the reflected image."""
    image = decoded["train"][0][:64, :64]
    line = torch.exp(-0.5 * (torch.arange(-25.0, 26.0) / sigma) ** 2)
    kernel = torch.outer(line / line.sum(), line / line.sum())[None, None]
    planes = torch.from_numpy(image).permute(2, 0, 1)[:, None].float()
    blurred = torch.nn.functional.conv2d(torch.nn.functional.pad(planes, [25] * 4, mode="reflect"), kernel)
    expected = blurred[:, 0].permute(1, 2, 0).numpy()
    assert np.abs(of_reference(GaussianBlur(p=1.0, sigma=(sigma, sigma)), image) - expected).max() <= 1


def test_a_jitter_without_change_changes_nothing(decoded: dict[str, npt.NDArray[np.uint8]]) -> None:
    image = decoded["train"][0]
    assert np.array_equal(of_reference(ColorJitter(p=0.0, brightness=0.9, hue=0.5), image), image)


@pytest.mark.parametrize("op", [Grayscale(p=0.1), Solarize(p=0.2)], ids=repr)
def test_the_share_of_changed_images_is_p(op: Any) -> None:
    """Within four standard deviations over 10^5 occurrences, for three seeds."""
    for seed in range(3):
        chosen = transform_of(op).choose(draw_epoch(100_000, seed=seed, epoch=0), 256, None)
        share = (chosen[f"{op.name}[0].mask[0]"] == 255).mean()
        assert abs(share - op.p) < 4 * (op.p * (1 - op.p) / 1e5) ** 0.5


def test_the_gpu_graph_is_defined_without_a_gpu(output_devices: Callable[..., list[str]]) -> None:
    assert output_devices(transform_of(*OPS)) == ["gpu"]


def test_wrong_settings_are_named() -> None:
    with pytest.raises(FreelightError, match=r"grayscale `p` \(=1.5\) must lie in 0..1"):
        Grayscale(p=1.5)
    with pytest.raises(FreelightError, match=r"color jitter `contrast` \(=-0.1\) must be 0 or more, or a range"):
        ColorJitter(contrast=-0.1)
    with pytest.raises(FreelightError, match=r"color jitter `hue` \(=0.6\) must lie in 0..0.5"):
        ColorJitter(hue=0.6)
    with pytest.raises(FreelightError, match=r"solarize `threshold` \(=257\) must lie in 0..256"):
        Solarize(threshold=257)
