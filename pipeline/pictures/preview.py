"""The preview, a contact sheet of augmented images: crops, flips, lighting, mean image, eigenvalues."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...shards import Dataset, FreelightError, Split, Statistics
from ...shards.sources import ClassInfo
from ...shards.statistics import PUBLISHED_ROOTS
from ..draws import draw_epoch
from ..ops import Crop, Lighting, LightingMode, RandomCrop, RandomResizedCrop
from ..transform import Transform
from .boxes import FAINT, INK, below, beside, framed, text_box, tile
from .choosing import one_of_each_class
from .rendering import render, sweep_draws

SIGMAS = (-3, -2, -1, 0, 1, 2, 3)
DATASET_COLOUR, IMAGENET_COLOUR = (38, 98, 168), (200, 200, 200)
SMALL, NORMAL, LARGE = 13, 15, 22
_TILE, _SWEPT, _GAP = 196, 92, 8


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Settings of the contact sheet. rows: number of images, see `choose_samples`. draws: epochs shown of each."""

    rows: int = 4
    draws: int = 6
    lighting: Lighting = field(default_factory=Lighting)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("rows", self.rows), ("draws", self.draws)):
            if not 1 <= value <= 50:
                raise FreelightError(f"`{name}` (={value}) must lie in 1..50")


def choose_samples(split: Split, preview: Preview) -> npt.NDArray[np.int32]:
    """Return the samples to show: of as many classes as possible, and of each class those that epoch 0 sees first."""
    order = draw_epoch(len(split), seed=preview.seed, epoch=0).order
    return order[one_of_each_class(split.samples["label"][order].astype(np.int64), preview.rows)]


def draw_preview(dataset: Dataset, split: Split, statistics: Statistics, preview: Preview) -> Image.Image:
    """Draw the contact sheet.

    The crop is 7/8 of an image's side: the paper's 224 of 256. Of images that are not squares of one size, it is a
    random resized crop.
    """
    size = dataset.image_size
    crop: Crop = RandomResizedCrop() if size is None else RandomCrop(size=max(1, size * 7 // 8))
    transform = Transform(crop=crop, mean="none", lighting=preview.lighting)
    sizes = "of several sizes" if size is None else f"{size} x {size} pixels"
    title = (
        f"{dataset.folder.resolve().name}: {len(split)} images of {split.name}, {sizes}, "
        f"{len(dataset.manifest.classes)} classes"
    )
    samples = choose_samples(split, preview)
    sections = [
        text_box(title, LARGE + 4),
        _draws_section(dataset, split, statistics, preview, transform, samples),
        _sweep_section(split, statistics, preview, transform.crop, int(samples[0])),
        beside([*_mean_section(statistics), _spectrum_section(statistics)], 60),
    ]
    return framed(below(sections, 34), 30)


def _section(title: str, explanation: str, content: list[Image.Image], gap: int) -> Image.Image:
    return below([text_box(title, LARGE), text_box(explanation, NORMAL, colour=FAINT), *content], gap)


def _captioned(picture: Image.Image, caption: str) -> Image.Image:
    return below([picture, text_box(caption, SMALL, width=picture.width)], 3)


def _draws_section(
    dataset: Dataset,
    split: Split,
    statistics: Statistics,
    preview: Preview,
    transform: Transform,
    samples: npt.NDArray[np.int32],
) -> Image.Image:
    """Draw a row for each image: as stored, then as in each epoch."""
    jpegs = [split.read(index) for index in samples.tolist()]
    originals = [np.asarray(split.decode(*read).convert("RGB")) for read in zip(samples.tolist(), jpegs, strict=True)]
    all_draws = [draw_epoch(len(split), seed=preview.seed, epoch=epoch) for epoch in range(preview.draws)]
    sizes = split.sizes
    views = [render(transform, draws, samples, jpegs, sizes=sizes, statistics=statistics) for draws in all_draws]
    windows = [transform.windows(draws, sizes) for draws in all_draws]
    rows = []
    for row, sample in enumerate(samples.tolist()):
        label = int(split.samples["label"][sample])
        info = dataset.manifest.classes[label] if label >= 0 else ClassInfo("no label", "no label")
        name = info.name if info.name.isascii() else info.id
        boxes = [_captioned(tile(originals[row], _TILE), f"{name}\nas stored")]
        for epoch, (draws, pictures) in enumerate(zip(all_draws, views, strict=True)):
            top, left, height, width = windows[epoch][sample].tolist()
            shape = f" {width} x {height}" if transform.crop.resizes else ""
            shift = transform.lighting.shifts(draws.lighting[[sample]], statistics)[0].round().astype(int).tolist()
            mirrored = "mirrored" if transform.flips(draws)[sample] else "not mirrored"
            caption = (
                f"epoch {epoch}, window{shape} at {left}, {top}\n{mirrored}, "
                f"light {' '.join(f'{value:+d}' for value in shift)}"
            )
            boxes.append(_captioned(tile(pictures[row], _TILE), caption))
        rows.append(beside(boxes, _GAP))
    light, side = preview.lighting, transform.crop.size
    window = (
        f"window, scaled to {side} x {side} pixels," if transform.crop.resizes else f"window of {side} x {side} pixels"
    )
    explanation = (
        f"In each epoch the network sees another {window} of "
        "each image; captions give its left and top edge in pixels.\n"
        "Half of the windows are mirrored. Lighting shifts red, green and blue by the grey levels (of 255) that "
        f"captions give: mode {light.mode}, strength {light.strength:g}.\n"
        f"These are the first epochs of training with seed {preview.seed}. Here the mean is not subtracted."
    )
    return _section("What training sees", explanation, rows, _GAP)


def _sweep_section(split: Split, statistics: Statistics, preview: Preview, crop: Crop, sample: int) -> Image.Image:
    """Draw a block per mode and a row per axis: one image with -3 to 3 standard deviations of noise."""
    jpegs = [split.read(sample)] * (3 * len(SIGMAS))
    sizes = split.sizes[[sample] * len(jpegs)]
    if crop.resizes:
        crop = RandomCrop(size=crop.size, resize=crop.size * 8 // 7)  # the same place in all
    draws = sweep_draws(range(3), SIGMAS)
    modes: tuple[LightingMode, ...] = ("std", "eigenvalue")
    names = {"std": "mode std, as the authors' code", "eigenvalue": "mode eigenvalue, as the paper's text"}
    blocks = []
    for mode in modes:
        lighting = Lighting(mode=mode, strength=preview.lighting.strength)
        lit = Transform(crop=crop, mean="none", lighting=lighting)
        pictures = render(lit, draws, draws.order, jpegs, sizes=sizes, statistics=statistics)
        rows = [text_box(f"{names[mode]}, strength {lighting.strength:g}", NORMAL)]
        for axis, deviation in enumerate(lighting.deviations(statistics)):
            tiles = [
                _captioned(tile(picture, _SWEPT), f"{sigma:+d} sigma" if sigma else "unchanged")
                for picture, sigma in zip(pictures[axis * len(SIGMAS) :], SIGMAS, strict=False)
            ]
            label = text_box(f"axis {axis + 1}: sigma is {deviation:.2f} grey levels, from - to +", SMALL)
            rows += [beside([label, _colours(statistics, axis, 14)], 8, middle=True), beside(tiles, 4)]
        blocks.append(below(rows, 5))
    explanation = (
        "Lighting shifts all pixels of an image by the same amount along the principal axes, the directions in which "
        "the colours of the\ndataset vary, strongest first. A strip shows the colours of its axis. Two of three draws "
        "lie within 1 sigma, three of 1,000 beyond 3."
    )
    return _section("Lighting along one axis at a time", explanation, [beside(blocks, 30)], _GAP)


def _mean_section(statistics: Statistics) -> list[Image.Image]:
    if statistics.mean_image is None:
        return []
    mean = statistics.mean_image.astype(np.float64)
    spread = max(float(np.ptp(mean)), 1e-3)
    stretched = (mean - mean.min()) * 255 / spread
    pictures = [
        _captioned(tile(mean.round().astype(np.uint8), _TILE), "as subtracted"),
        _captioned(tile(stretched.round().astype(np.uint8), _TILE), f"contrast x {255 / spread:.1f}"),
    ]
    explanation = (
        f"Mean of {statistics.images} images of {statistics.split}.\nValues from {mean.min():.0f} to {mean.max():.0f}."
    )
    return [_section("The mean image", explanation, [beside(pictures, _GAP)], _GAP)]


def _spectrum_section(statistics: Statistics) -> Image.Image:
    """Draw bars of the eigenvalues' square roots, with ImageNet's beside them, and the colours of each axis."""
    longest = max(float(statistics.eigenvalue_roots.max()), max(PUBLISHED_ROOTS))
    rows: list[Image.Image] = []
    for axis in range(3):
        bars = [
            _bar(float(value), longest, colour, what)
            for value, colour, what in (
                (statistics.eigenvalue_roots[axis], DATASET_COLOUR, "this dataset"),
                (PUBLISHED_ROOTS[axis], IMAGENET_COLOUR, "ImageNet, as published"),
            )
        ]
        label = below([text_box(f"axis {axis + 1}", NORMAL), _colours(statistics, axis, 26)], 4)
        rows.append(beside([label, below(bars, 4)], 16, middle=True))
    explanation = (
        "Standard deviation of the pixels along each principal axis: the square roots of the eigenvalues of the RGB\n"
        "covariance, in grey levels of 255. Strips show the colours from -2 to +2 standard deviations."
    )
    return _section("The spectrum", explanation, rows, 14)


def _bar(value: float, longest: float, colour: tuple[int, int, int], what: str) -> Image.Image:
    bar = Image.new("RGB", (max(1, round(300 * value / longest)), 20), colour)
    return beside([bar, text_box(f"{value:.1f}  {what}", NORMAL, colour=INK)], 8, middle=True)


def _colours(statistics: Statistics, axis: int, height: int) -> Image.Image:
    places = np.linspace(-2, 2, 160)[:, None] * statistics.eigenvalue_roots[axis]
    row = (statistics.mean + places * statistics.eigenvectors[:, axis]).round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.repeat(row[None], height, axis=0))
