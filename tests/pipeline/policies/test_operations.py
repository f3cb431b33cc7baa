"""Each operation of a policy: the graph against its reference, and against Pillow and torchvision, at five values."""

from collections.abc import Callable

import numpy as np
import pytest
from listed import STRENGTHS, Listed, Pixels
from PIL import Image, ImageEnhance, ImageOps

from freelight.demo.drawing import draw_picture
from freelight.pipeline.ops.policies.operations import OPERATIONS

SIDE = 112
GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")


def pillow_affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.NEAREST)


def solarize_add(image: Image.Image, value: float) -> Image.Image:
    """timm's."""
    return image.point([min(255, v + int(value)) if v < 128 else v for v in range(256)] * 3)


PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "Identity": lambda image, value: image,
    "ShearX": lambda image, value: pillow_affine(image, 1, value, 0, 0, 1, 0),
    "ShearY": lambda image, value: pillow_affine(image, 1, 0, 0, value, 1, 0),
    "TranslateX": lambda image, value: pillow_affine(image, 1, 0, -value, 0, 1, 0),
    "TranslateY": lambda image, value: pillow_affine(image, 1, 0, 0, 0, 1, -value),
    "Rotate": lambda image, value: image.rotate(value, resample=Image.Resampling.NEAREST),
    "Brightness": lambda image, value: ImageEnhance.Brightness(image).enhance(value),
    "Color": lambda image, value: ImageEnhance.Color(image).enhance(value),
    "Contrast": lambda image, value: ImageEnhance.Contrast(image).enhance(value),
    "Sharpness": lambda image, value: ImageEnhance.Sharpness(image).enhance(value),
    "Posterize": lambda image, value: ImageOps.posterize(image, int(value)),
    "Solarize": ImageOps.solarize,  # type: ignore[dict-item]
    "SolarizeAdd": solarize_add,
    "AutoContrast": lambda image, value: ImageOps.autocontrast(image),
    "Equalize": lambda image, value: ImageOps.equalize(image),
    "Invert": lambda image, value: ImageOps.invert(image),
}
STEPS = [[(name, float(value))] for name, values in STRENGTHS.items() for value in values]


@pytest.fixture(scope="module")
def images() -> Pixels:
    """A picture for each of `STEPS`. Those of an operation differ in contrast."""
    pictures = [
        np.asarray(draw_picture(number % 10, np.random.default_rng(number), (SIDE, SIDE)))
        for number in range(len(STEPS))
    ]
    return np.stack(
        [
            (picture * (0.4 + 0.15 * (number % 5)) + 8 * (number % 5)).clip(0, 255).astype(np.uint8)
            for number, picture in enumerate(pictures)
        ]
    )


@pytest.fixture(scope="module")
def changed(images: Pixels) -> Pixels:
    """The images as the graph changes them, all in one batch."""
    return Listed().by_graph(images, STEPS)


def differences(found: Pixels, expected: Pixels) -> dict[str, float]:
    """Return the greatest mean difference of an image, by operation. Geometric ones: away from the border."""
    off = np.abs(found.astype(int) - expected)
    worst: dict[str, float] = {}
    for image, [(name, _)] in zip(off, STEPS, strict=True):
        inner = image[8:-8, 8:-8] if name in GEOMETRIC else image
        worst[name] = max(worst.get(name, 0), float(inner.mean()))
    return worst


def test_the_operations_are_all_tested() -> None:
    assert set(STRENGTHS) == set(PILLOW) == set(OPERATIONS)


def test_the_graph_is_the_reference(images: Pixels, changed: Pixels) -> None:
    """The same bytes, but for one grey level of rounding where DALI filters, and a few neighbours when it rotates."""
    off = np.abs(changed.astype(int) - Listed().by_reference(images, STEPS))
    for image, [(name, value)] in zip(off, STEPS, strict=True):
        share = {"Color": 0.1, "Sharpness": 0.01, "Rotate": 1e-3}.get(name, 0)
        assert (image > 0).mean() <= share, (name, value)
        assert name == "Rotate" or image.max() <= 1, (name, value)


def test_operations_apply_in_the_order_in_which_they_are_drawn(images: Pixels) -> None:
    """Every pair of operations, in both orders."""
    pairs = [[first, second] for [first] in STEPS[3::5] for [second] in STEPS[3::5]]
    many = images[np.arange(len(pairs)) % len(images), :40, :40]
    found = Listed(length=2).by_graph(many, pairs)
    once = Listed().by_reference(many, [[first] for first, _ in pairs])
    twice = Listed().by_reference(once, [[second] for _, second in pairs])
    off = np.abs(found.astype(int) - twice)
    for image, names in zip(off, pairs, strict=True):
        assert image.mean() <= 1, names
    assert off.mean() <= 0.1


@pytest.mark.parametrize("fill", [7, (124, 116, 104)])
def test_the_fill_comes_in_from_outside(fill: int | tuple[int, int, int], images: Pixels) -> None:
    places = [place for place, [(name, _)] in enumerate(STEPS) if name in GEOMETRIC]
    steps = [STEPS[place] for place in places]
    plain, filled = (Listed(fill=value).by_graph(images[places] // 2 + 1, steps) for value in (0, fill))
    outside = (plain == 0).all(axis=-1)
    assert outside.any(axis=(1, 2)).sum() >= 20
    assert (filled[outside] == fill).all()
    assert np.array_equal(filled[~outside], plain[~outside])


def test_operations_are_pillows(images: Pixels, changed: Pixels) -> None:
    expected = [
        np.asarray(PILLOW[name](Image.fromarray(image), value))
        for image, [(name, value)] in zip(images, STEPS, strict=True)
    ]
    worst = differences(changed, np.stack(expected))
    assert max(worst.values()) <= 1
