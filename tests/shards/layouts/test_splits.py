"""A folder that is a split by its name is never a class; what could be read in two ways is an error."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from freelight.commands.make_shards import command


def printed(images: Path, *files: str) -> tuple[int, str]:
    """Make pictures, and return the exit code and the output of a dry run."""
    for name in files:
        path = images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".jpg"):
            Image.new("RGB", (8, 8)).save(path)
        else:
            path.write_text("no picture")
    result = CliRunner().invoke(command, ["--images", str(images), "--out", str(images.parent / "out"), "--dry-run"])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", "Val", "Test"),
        ("training", "validation", "testing"),
        ("TRAINING", "Validation", "TESTING"),
        ("train", "valid", "test"),
        ("train", "dev", "test"),
    ],
)
def test_known_names_in_any_case_are_splits_and_the_summary_says_so(
    train: str, val: str, test: str, tmp_path: Path
) -> None:
    files = [f"{split}/{name}/1.jpg" for split in (train, val) for name in "ab"]
    code, output = printed(tmp_path / "images", *files, f"{test}/1.jpg")
    assert code == 0
    lines = output.splitlines()
    for split, name in (("train", train), ("val", val), ("test", test)):
        images = 1 if split == "test" else 2
        assert any(line.startswith(f"{split}: {images} image") for line in lines)
        assert (f"{name}/ is read as the split {split}" in lines) == (name != split)


WRONG = {
    "two folders of one split": (
        ["train/a/1.jpg", "val/a/1.jpg", "validation/a/1.jpg"],
        "{images} has val/ and validation/, which are both the split val; move one away",
    ),
    "a class called train": (
        ["plane/1.jpg", "ship/1.jpg", "train/1.jpg"],
        "{images} has train/, which would be read as splits, and beside them pictures in plane, ship. If the first are "
        "splits, move the others away; if all are classes, move them into {images}/train/",
    ),
    "classes beside splits": (
        ["train/a/1.jpg", "val/a/1.jpg", "extra/deep/1.jpg"],
        "{images} has train/, val/, which would be read as splits, and beside them pictures in extra.",
    ),
    "no train": (["validation/a/1.jpg"], "{images} has validation/ but no train/; give the folder that holds train/"),
    "Kaggle's inner folder": (
        ["Data/CLS-LOC/train/n1/1.jpg", "Data/CLS-LOC/val/1.jpg", "Data/CLS-LOC/test/1.jpg", "Annotations/a.xml"],
        "{images}/Data/CLS-LOC holds test/, train/, val/, which are splits and would all become one class; give the "
        "folder that holds train/ as --images (for Kaggle's copy the one that holds ILSVRC/)",
    ),
    "the folder above train": (["imagenet/train/a/1.jpg"], "{images}/imagenet holds train/, which are splits"),
    "splits within each class": (
        [f"{name}/{split}/1.jpg" for name in "ab" for split in ("train", "test")],
        "{images}/a holds test/, train/, which are splits",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_tree_that_could_be_read_in_two_ways_is_an_error_with_the_remedy(case: str, tmp_path: Path) -> None:
    files, message = WRONG[case]
    code, output = printed(tmp_path / "images", *files)
    assert code == 2
    assert message.format(images=tmp_path / "images") in output


def test_folders_without_pictures_beside_the_splits_are_named_as_not_used(tmp_path: Path) -> None:
    code, output = printed(
        tmp_path / "images", "train/a/1.jpg", "train/b/1.jpg", "docs/a.txt", "boxes/a/1.xml", "more.zip", "README.md"
    )
    assert code == 0
    assert "not used: boxes/, docs/, more.zip" in output.splitlines()


def test_one_class_is_a_warning(tmp_path: Path) -> None:
    code, output = printed(tmp_path / "images", "train/a/1.jpg")
    assert code == 0
    assert "warning: there is only 1 class; the pictures of all classes may have been put into it" in output


def test_classes_that_hold_only_folders_are_a_warning(tmp_path: Path) -> None:
    images = tmp_path / "images"
    code, output = printed(images, "animals/cat/1.jpg", "animals/dog/1.jpg", "things/cup/1.jpg", "things/pen/1.jpg")
    assert code == 0
    assert re.search(f"warning: the class folders of {images} hold no pictures, only folders do", output)
    assert "warning" not in printed(images, "animals/1.jpg")[1], "one of them holds pictures itself"
