"""Draw labelled pictures in an ImageNet-style folder tree, so that the demo and the tests need no download.

Ten classes differ by shape and texture alone; the colours of all classes have the same distribution. A figure is a
function of x and y (height by width) that returns the distance from the figure's edge, positive inside, in figure
units. A single shape has a radius of about 1. A unit is 0.6 to 0.85 of half the picture's shorter side.
"""

import colorsys
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["CLASSES", "SIZES", "DrawnPictures", "draw_picture", "draw_pictures"]

Plane = NDArray[np.float32]

SIZES = ((300, 260), (256, 256), (400, 300), (220, 340), (180, 200), (375, 281), (240, 320))
"""Sizes of the pictures, (width, height) in pixels: landscape, portrait and square, above and below 256."""


@dataclass(frozen=True, kw_only=True)
class DrawnPictures:
    """What `draw_pictures` wrote: number of sound pictures per split, and the file of each defect by name."""

    train: int
    val: int
    defects: dict[str, Path]


def draw_pictures(
    out: str | Path, *, train_per_class: int, val_per_class: int, seed: int = 0, defects: bool = True
) -> DrawnPictures:
    """Write `out/{train,val}/<class>/<class>_<n>.JPEG`, n from 1, and `out/class-names.tsv` (`<id>\\t<name>`, by id).

    Each picture is a pure function of (seed, split, class, n), so a larger count does not change the other pictures.
    With `defects`, the first train picture of three classes has a defect that ImageNet has too: a "cmyk" JPEG, a "grey"
    JPEG, or a "png" (RGBA) named .JPEG. These decode. One more file, n = 0, is "truncated"; a converter must reject it.

    Raises ValueError for a count below 1, a negative seed, or an `out` that is a file or a folder that is not empty.
    """
    for name, value, least in (
        ("train_per_class", train_per_class, 1),
        ("val_per_class", val_per_class, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise ValueError(f"`{name}` (={value}) must be at least {least}")
    root = Path(out)
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise ValueError(f"`out` (={root}) is not an empty folder; give a new one, or empty it")

    damaged: dict[str, Path] = {}
    for split_index, (split, count) in enumerate((("train", train_per_class), ("val", val_per_class))):
        for label, (class_id, _) in enumerate(CLASSES):
            folder = root / split / class_id
            folder.mkdir(parents=True)
            for n in range(count + 1):
                defect = _DEFECTS.get((label, n)) if defects and split == "train" else None
                if n == 0 and defect is None:
                    continue
                path = folder / f"{class_id}_{n}.JPEG"
                rng = np.random.default_rng((seed, split_index, label, n))
                picture = draw_picture(label, rng, SIZES[rng.integers(len(SIZES))])
                path.write_bytes(_encode(picture, defect))
                if defect is not None:
                    damaged[defect] = path
    (root / "class-names.tsv").write_text("".join(f"{class_id}\t{name}\n" for class_id, name in CLASSES), "ascii")
    return DrawnPictures(train=train_per_class * len(CLASSES), val=val_per_class * len(CLASSES), defects=damaged)


def draw_picture(class_index: int, rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Draw one picture of class `class_index` (into `CLASSES`): an RGB image of `size` (width, height) in pixels.

    `rng` gives rotation, scale, position, two colours, the background's gradient and the noise.
    """
    width, height = size
    half = min(width, height) / 2
    unit = half * rng.uniform(0.6, 0.85)  # pixels
    turn = rng.uniform(0, 2 * math.pi)
    centre_x, centre_y = np.array(size) / 2 + half * rng.uniform(-0.15, 0.15, 2)
    px = (np.arange(width, dtype=np.float32) - np.float32(centre_x)) / np.float32(unit)
    py = (np.arange(height, dtype=np.float32) - np.float32(centre_y))[:, None] / np.float32(unit)
    cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    inside = _FIGURES[class_index](cos * px + sin * py, cos * py - sin * px)
    cover = np.clip(inside * np.float32(unit) + np.float32(0.5), 0, 1)  # the edge is one pixel wide

    figure, ground = _two_colours(rng)
    slope_x, slope_y = rng.uniform(-15, 15, 2).astype(np.float32)
    light = slope_x * px + slope_y * py + 6 * rng.standard_normal((height, width), dtype=np.float32)
    pixels = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        plane = ground[channel] + (figure[channel] - ground[channel]) * cover + light
        pixels[..., channel] = np.clip(plane, 0, 255)
    return Image.fromarray(pixels)


def _two_colours(rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Draw a dark and a light colour in random order, so that both have the same distribution: RGB, 0-255."""
    hues = rng.uniform(0, 1, 2)
    dark = colorsys.hsv_to_rgb(hues[0], rng.uniform(0.4, 0.9), rng.uniform(0.15, 0.45))
    light = colorsys.hsv_to_rgb(hues[1], rng.uniform(0.05, 0.5), rng.uniform(0.85, 1.0))
    first, second = np.array([dark, light] if rng.uniform() < 0.5 else [light, dark], np.float32) * np.float32(255)
    return first, second


def _encode(picture: Image.Image, defect: str | None = None) -> bytes:
    """Return the bytes of a file: a JPEG of quality 90, or one with the named defect."""
    mode = {"cmyk": "CMYK", "grey": "L", "png": "RGBA"}.get(defect or "", "RGB")
    buffer = io.BytesIO()
    picture.convert(mode).save(buffer, "PNG" if defect == "png" else "JPEG", quality=90)
    encoded = buffer.getvalue()
    return encoded[: len(encoded) // 2] if defect == "truncated" else encoded


def _wave(x: Plane, period: float) -> Plane:
    """Return the triangle wave of slope ±1 through 0: signed distance to stripes half a period wide."""
    phase = x / np.float32(period)
    distance: Plane = (np.abs(phase - np.floor(phase) - np.float32(0.5)) - np.float32(0.25)) * np.float32(period)
    return distance


def _disc(x: Plane, y: Plane) -> Plane:
    distance: Plane = 1 - np.hypot(x, y)
    return distance


def _ring(x: Plane, y: Plane) -> Plane:
    distance: Plane = np.float32(0.2) - np.abs(np.hypot(x, y) - np.float32(0.8))
    return distance


def _triangle(x: Plane, y: Plane) -> Plane:
    distance: Plane = np.float32(0.6) - np.maximum(np.abs(x) * np.float32(math.sqrt(0.75)) - y / 2, y)
    return distance


def _cross(x: Plane, y: Plane) -> Plane:
    across, along = np.abs(x), np.abs(y)
    return np.minimum(np.float32(1.1) - np.maximum(across, along), np.float32(0.28) - np.minimum(across, along))


def _star(x: Plane, y: Plane) -> Plane:
    """Five points of radius 1.2 between notches of radius 0.46: fold to one half point, take its edge's distance."""
    fifth = 2 * math.pi / 5
    angle = np.arctan2(y, x) / np.float32(fifth)
    folded = np.abs(angle - np.round(angle)) * np.float32(fifth)
    notch_x, notch_y = 0.46 * math.cos(fifth / 2), 0.46 * math.sin(fifth / 2)
    normal = math.atan2(1.2 - notch_x, notch_y)  # of the edge from the point (1.2, 0) to the notch, radians
    distance: Plane = np.float32(1.2 * math.cos(normal)) - np.hypot(x, y) * np.cos(folded - np.float32(normal))
    return distance


def _stripes(x: Plane, y: Plane) -> Plane:
    return _wave(x, 0.42)


def _zigzag(x: Plane, y: Plane) -> Plane:
    return _wave(x + 2 * np.abs(_wave(y, 1.0)), 0.5) * np.float32(0.5)


def _checkerboard(x: Plane, y: Plane) -> Plane:
    across, along = _wave(x, 0.8), _wave(y, 0.8)
    return np.maximum(np.minimum(across, -along), np.minimum(-across, along))


def _dots(x: Plane, y: Plane) -> Plane:
    cell = np.float32(0.5)
    distance: Plane = np.float32(0.17) - np.hypot(x - cell * np.round(x / cell), y - cell * np.round(y / cell))
    return distance


def _rays(x: Plane, y: Plane) -> Plane:
    return np.hypot(x, y) * _wave(np.arctan2(y, x), 2 * math.pi / 12)


_NAMED: tuple[tuple[str, Callable[[Plane, Plane], Plane]], ...] = (
    ("disc", _disc),
    ("ring", _ring),
    ("triangle", _triangle),
    ("cross", _cross),
    ("star", _star),
    ("stripes", _stripes),
    ("zigzag", _zigzag),
    ("checkerboard", _checkerboard),
    ("dots", _dots),
    ("rays", _rays),
)
_FIGURES = tuple(figure for _, figure in _NAMED)
_DEFECTS = {(1, 1): "cmyk", (3, 0): "truncated", (5, 1): "grey", (8, 1): "png"}  # by (class index, n)

CLASSES = tuple((f"n9000{number:04d}", name) for number, (name, _) in enumerate(_NAMED, 1))
"""The classes in label order: (id, name)."""
