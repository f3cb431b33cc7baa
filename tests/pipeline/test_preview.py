"""The preview shows the output of the pipeline's own graph: upright, in the right colours, nothing cut off."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from freelight.pipeline import Lighting, Transform, draw_epoch
from freelight.pipeline.pictures import (
    PAPER,
    Preview,
    below,
    beside,
    draw_preview,
    framed,
    render,
    sweep_draws,
    text_box,
    tile,
)
from freelight.pipeline.pictures.preview import DATASET_COLOUR, choose_samples
from freelight.shards import Dataset, FreelightError, Statistics

SIDE, LEFT, PITCH = 196, 30, 204
"""The large tiles of a preview: their side, the left edge of the first, and their distance, pixels."""


@pytest.fixture(scope="module")
def sheet(dataset: Dataset, statistics: Statistics) -> npt.NDArray[np.uint8]:
    preview = Preview(rows=2, draws=3, lighting=Lighting(mode="std"), seed=4)
    return np.asarray(draw_preview(dataset, dataset.split("train"), statistics, preview))


def rows_with(sheet: npt.NDArray[np.uint8], picture: Image.Image, left: int) -> list[int]:
    """Return the heights at which the picture lies on the sheet, to a grey level."""
    wanted = np.asarray(picture).astype(int)
    columns = sheet[:, left : left + picture.width].astype(int)
    return [
        top
        for top in range(len(sheet) - picture.height)
        if np.abs(columns[top] - wanted[0]).max() <= 1
        and np.abs(columns[top : top + picture.height] - wanted).max() <= 1
    ]


def levels(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return values.transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8)


def test_the_sheet_has_each_image_as_stored_and_as_every_epoch_of_training_shows_it(
    sheet: npt.NDArray[np.uint8], statistics: Statistics, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    """The oracle is Pillow's decoder and numpy. One row per image, from top to bottom."""
    pictures = decoded["train"]
    transform = Transform(mean="none", lighting=Lighting(mode="std"))
    heights = []
    for sample in draw_epoch(len(pictures), seed=4, epoch=0).order[:2].tolist():
        (height,) = rows_with(sheet, tile(pictures[sample], SIDE), LEFT)
        for epoch in range(3):
            draws = draw_epoch(len(pictures), seed=4, epoch=epoch)
            view = levels(transform.apply(pictures[sample], draws, sample, statistics))
            assert rows_with(sheet, tile(view, SIDE), LEFT + PITCH * (1 + epoch)) == [height]
        heights.append(height)
    assert heights[0] + SIDE < heights[1]


def test_the_sheet_has_the_mean_image(sheet: npt.NDArray[np.uint8], statistics: Statistics) -> None:
    assert len(rows_with(sheet, tile(statistics.mean_image.round().astype(np.uint8), SIDE), LEFT)) == 1


def test_the_bars_are_as_long_as_the_eigenvalues_roots(sheet: npt.NDArray[np.uint8], statistics: Statistics) -> None:
    roots = statistics.eigenvalue_roots
    lengths = (sheet == DATASET_COLOUR).all(axis=2).sum(axis=1)
    found = sorted({int(length) for length in lengths if length > 5})
    longest = max(121.78, float(roots.max()))
    assert found == sorted(round(300 * float(root) / longest) for root in roots)


def test_nothing_on_the_sheet_touches_its_edge(sheet: npt.NDArray[np.uint8]) -> None:
    for edge in (sheet[:30], sheet[-30:], sheet[:, :30], sheet[:, -30:]):
        assert (edge == PAPER).all()


def test_a_sweep_moves_one_axis_at_a_time_by_the_given_deviations(
    dataset: Dataset, statistics: Statistics, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    """Grey pixels far from black and white are not clipped, so the shift is the formula's, rounded."""
    sigmas = (-2, 0, 2)
    draws = sweep_draws(range(3), sigmas)
    lighting = Lighting(mode="std")
    jpeg = dataset.split("val").read(0)
    lit = render(
        Transform(mean="none", lighting=lighting),
        draws,
        draws.order,
        [jpeg] * 9,
        sizes=256,
        statistics=statistics,
    )
    window = decoded["val"][0][16:240, 16:240].astype(np.float64)
    for row in range(3):
        for column, sigma in enumerate(sigmas):
            shift = sigma * 0.1 * statistics.eigenvalues[row] ** 0.5 * statistics.eigenvectors[:, row]
            expected = (window + shift).round().clip(0, 255)
            assert np.abs(lit[3 * row + column] - expected).max() <= 1


def test_the_images_shown_are_of_as_many_classes_as_possible(dataset: Dataset) -> None:
    split = dataset.split("train")
    labels = split.samples["label"][choose_samples(split, Preview(rows=15))].tolist()
    assert len(set(labels[:10])) == 10
    assert len(set(labels[10:])) == 5


def test_fewer_images_than_rows_and_no_lighting_are_drawn_too(dataset: Dataset, statistics: Statistics) -> None:
    """More rows than images, and one draw: the sheet has no empty space."""
    preview = Preview(rows=30, draws=1, lighting=Lighting(mode="off"))
    drawn = draw_preview(dataset, dataset.split("val"), statistics, preview)
    assert drawn.height > 20 * SIDE


# The boxes.


def test_images_of_another_size_than_the_manifest_says_are_an_error(
    dataset_copy: Dataset, statistics: Statistics
) -> None:
    object.__setattr__(dataset_copy.manifest, "image_size", 300)
    with pytest.raises(FreelightError, match=r"train\.samples\.npy: row 0: height \(=256\) must be 300"):
        draw_preview(dataset_copy, dataset_copy.split("train"), statistics, Preview(rows=1, draws=1))


def test_a_split_without_labels_and_classes_is_drawn(dataset_copy: Dataset, statistics: Statistics) -> None:
    split = dataset_copy.split("val")
    split.samples["label"] = -1
    object.__setattr__(dataset_copy.manifest, "classes", ())
    assert draw_preview(dataset_copy, split, statistics, Preview(rows=1, draws=1)).width


def test_text_is_not_cut_off_on_any_side() -> None:
    """Letters with long parts on all sides have a margin around them."""
    for size in (11, 13, 22, 40):
        box = np.asarray(text_box("jgÅWf\nWjpqyQ|", size))
        ink = (box != PAPER).any(axis=2)
        assert ink.any()
        assert not ink[0].any()
        assert not ink[-1].any()
        assert not ink[:, -1].any()


def test_text_that_is_too_wide_ends_in_dots_within_the_width() -> None:
    short, long = text_box("otter", 13, width=80), text_box("a rather long name of an otter", 13, width=80)
    assert short.width == long.width == 80
    shortened = [text_box(f"{'a rather long name'[:length]}...", 13, width=80) for length in range(5, 18)]
    assert any(np.array_equal(np.asarray(long), np.asarray(box)) for box in shortened)


def test_boxes_stand_beside_and_below_one_another_without_overlap() -> None:
    red, blue = (Image.new("RGB", size, colour) for size, colour in (((3, 4), "red"), ((5, 2), "blue")))
    row, column = np.asarray(beside([red, blue], 2)), np.asarray(below([red, blue], 1))
    assert (row.shape, column.shape) == ((4, 10, 3), (7, 5, 3))
    assert (row[:, :3] == (255, 0, 0)).all()
    assert (row[:2, 5:] == (0, 0, 255)).all()
    assert (column[5:] == (0, 0, 255)).all()
    assert (np.asarray(beside([red, blue], 2, middle=True))[1:3, 5:] == (0, 0, 255)).all()
    assert framed(red, 2).size == (7, 8)


@pytest.mark.parametrize("arguments", [{"rows": 0}, {"draws": 51}])
def test_wrong_numbers_are_named(arguments: dict[str, int]) -> None:
    ((name, value),) = arguments.items()
    with pytest.raises(FreelightError, match=rf"`{name}` \(={value}\) must lie in 1\.\.50"):
        Preview(**arguments)
