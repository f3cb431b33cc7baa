"""The drawn pictures have the properties that the demo and the other tests need."""

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from making import files
from numpy.typing import NDArray
from PIL import Image

from freelight.commands.draw_pictures import command
from freelight.demo.drawing import CLASSES, SIZES, DrawnPictures, draw_picture, draw_pictures

TOOL = Path(__file__).parents[2] / "tools" / "draw_pictures"
TRAIN, VAL = 30, 10


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn") / "pictures"


@pytest.fixture(scope="module")
def drawn(tree: Path) -> DrawnPictures:
    return draw_pictures(tree, train_per_class=TRAIN, val_per_class=VAL)


def test_layout_counts_and_class_names(tree: Path, drawn: DrawnPictures) -> None:
    expected = {
        f"{split}/{class_id}/{class_id}_{n}.JPEG"
        for split, count in (("train", TRAIN), ("val", VAL))
        for class_id, _ in CLASSES
        for n in range(1, count + 1)
    }
    truncated = str(drawn.defects["truncated"].relative_to(tree))
    assert set(files(tree)) == expected | {truncated, "class-names.tsv"}
    assert truncated not in expected
    assert (drawn.train, drawn.val) == (TRAIN * 10, VAL * 10)
    lines = (tree / "class-names.tsv").read_text().splitlines()
    assert lines == sorted(lines) == [f"{class_id}\t{name}" for class_id, name in CLASSES]
    assert len(set(CLASSES)) == 10


def test_every_file_but_the_truncated_one_decodes_and_every_size_occurs(tree: Path, drawn: DrawnPictures) -> None:
    sizes = set()
    for path in tree.rglob("*.JPEG"):
        if path != drawn.defects["truncated"]:
            with Image.open(path) as picture:
                picture.load()
                sizes.add(picture.size)
    assert sizes == set(SIZES)
    assert {(w > h) - (w < h) for w, h in SIZES} == {-1, 0, 1}, "lying, standing and square"


def test_each_defect_is_what_it_says(drawn: DrawnPictures) -> None:
    assert set(drawn.defects) == {"cmyk", "grey", "png", "truncated"}
    for name, file_format, mode in (("cmyk", "JPEG", "CMYK"), ("grey", "JPEG", "L"), ("png", "PNG", "RGBA")):
        with Image.open(drawn.defects[name]) as picture:
            assert (picture.format, picture.mode) == (file_format, mode)
    with Image.open(drawn.defects["truncated"]) as picture, pytest.raises(OSError, match="truncated"):
        picture.load()


def test_same_seed_same_bytes_and_defects_replace_only_their_own_pictures(
    tree: Path, drawn: DrawnPictures, tmp_path: Path
) -> None:
    """A smaller tree is a part of the larger one: a picture depends only on (seed, split, class, n)."""
    draw_pictures(tmp_path / "again", train_per_class=2, val_per_class=1)
    draw_pictures(tmp_path / "whole", train_per_class=2, val_per_class=1, defects=False)
    draw_pictures(tmp_path / "other", train_per_class=1, val_per_class=1, seed=1, defects=False)
    full, again, whole = files(tree), files(tmp_path / "again"), files(tmp_path / "whole")
    assert again.items() <= full.items()
    damaged = {str(path.relative_to(tree)) for path in drawn.defects.values()}
    assert {name for name in again if again[name] != whole.get(name)} == damaged
    pictures = [path.read_bytes() for root in ("whole", "other") for path in (tmp_path / root).rglob("*.JPEG")]
    assert len(set(pictures)) == len(pictures) == 10 * (3 + 2), "two pictures are the same"

    for name in ("cmyk", "png"):
        path = drawn.defects[name].relative_to(tree)
        with Image.open(tree / path) as defect, Image.open(tmp_path / "whole" / path) as sound:
            apart = np.abs(np.asarray(defect.convert("RGB"), np.int16) - np.asarray(sound, np.int16))
        assert apart.mean() < 6, f"the {name} file shows another picture"


def mean_colours(tree: Path, split: str, per_class: int) -> NDArray[np.float64]:
    """Return the mean RGB (0 to 255) of every picture, (classes, pictures, 3)."""
    means = []
    for class_id, _ in CLASSES:
        for n in range(1, per_class + 1):
            with Image.open(tree / split / class_id / f"{class_id}_{n}.JPEG") as picture:
                means.append(np.asarray(picture.convert("RGB")).mean((0, 1)))
    return np.reshape(means, (len(CLASSES), per_class, 3))


def test_colour_does_not_tell_the_classes_apart(tree: Path, drawn: DrawnPictures) -> None:
    """If this fails, a network could have low errors without learning shapes."""
    centroids = mean_colours(tree, "train", TRAIN).mean(1)
    val = mean_colours(tree, "val", VAL)
    distance = np.linalg.norm(val[:, :, None] - centroids, axis=-1)
    wrong = distance.argmin(-1) != np.arange(len(CLASSES))[:, None]
    assert wrong.mean() > 0.6, f"nearest mean colour errs on only {wrong.mean():.0%} (chance: 90%)"


def test_classes_draw_different_figures_from_the_same_draws() -> None:
    """With equal rotation, colours and noise, any two figures differ in more than a tenth of the pixels."""
    pictures = [np.asarray(draw_picture(k, np.random.default_rng(3), (256, 256)), np.int16) for k in range(10)]
    for a in range(10):
        for b in range(a):
            differs = (np.abs(pictures[a] - pictures[b]).max(-1) > 20).mean()
            assert differs > 0.1, f"{CLASSES[a]} and {CLASSES[b]} differ in {differs:.0%} of the pixels"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_per_class": 0}, r"`train_per_class` \(=0\) must be at least 1"),
        ({"val_per_class": -1}, r"`val_per_class` \(=-1\) must be at least 1"),
        ({"seed": -1}, r"`seed` \(=-1\) must be at least 0"),
    ],
)
def test_numbers_out_of_range_are_named(arguments: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        draw_pictures(tmp_path / "out", **{"train_per_class": 1, "val_per_class": 1, **arguments})  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_the_tool_reports_one_line_and_refuses_a_folder_with_anything_in_it(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path / "out"), "--train-per-class", "1", "--val-per-class", "1"]
    first = CliRunner().invoke(command, arguments)
    assert first.exit_code == 0, first.output
    assert "10 train and 10 val pictures of 10 classes" in first.output
    assert first.output.count("\n") == 1
    before = files(tmp_path)
    second = CliRunner().invoke(command, arguments)
    assert second.exit_code == 2
    assert "is not an empty folder" in second.output
    assert files(tmp_path) == before
    assert os.access(TOOL, os.X_OK), "it runs as typed"
