"""The sheet of a transform shows what the loader gives after each step, in the loader's pixels."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFont

from freelight.commands.preview import command
from freelight.pipeline import (
    CenterCrop,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    Lighting,
    Loader,
    Mix,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Schedule,
    TenCrop,
    Transform,
    Views,
    draw_epoch,
)
from freelight.pipeline.pictures import PAPER, Preview, StepRenderer, draw_transform, take_apart, wrapped
from freelight.shards import Dataset, Statistics

MEAN, STD = (120.0, 110.0, 100.0), (60.0, 58.0, 57.0)
# An op of normalized values stands before one of pixels: the order of the steps is not that of `ops`.
MIXED = Transform(
    crop=RandomResizedCrop(size=48),
    mean=MEAN,
    std=STD,
    lighting=Lighting(mode="off"),
    ops=(RandomErasing(p=1), ColorJitter(brightness=0.5), Grayscale(p=0.5)),
)


def batch(dataset: Dataset, transform: Transform) -> npt.NDArray[Any]:
    """Return the first eight images that a loader gives in epoch 0: (8, views, size, size, 3)."""
    with Loader(dataset, "train", batch_size=8, transform=transform, layout="NHWC", seed=3) as loader:
        images = next(iter(loader)).images.numpy()
    return images.reshape(8, -1, *images.shape[-3:])


def rendered(dataset: Dataset, transform: Transform) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the same images after each step, by title."""
    split, draws = dataset.split("train"), draw_epoch(len(dataset.split("train")), seed=3, epoch=0)
    statistics = Statistics.load(dataset.folder)
    renderer = StepRenderer(transform, split, statistics, draws.order[:8], [draws])
    return {step.title: renderer.render(step)[0] for step in take_apart(transform)}


def test_the_steps_are_the_loaders_batches_of_a_transform_that_ends_there(dataset: Dataset) -> None:
    steps = rendered(dataset, MIXED)
    assert list(steps) == ["RandomResizedCrop", "ColorJitter", "Grayscale", "flip", "normalize", "RandomErasing"]
    bare = replace(MIXED, mean="none", std=None, dtype="uint8", flip_probability=0.0, ops=())
    np.testing.assert_array_equal(steps["RandomResizedCrop"], batch(dataset, bare))
    # Without the first op the second one would have other draws; it does nothing here.
    jittered = replace(bare, ops=(Grayscale(p=0), *MIXED.ops[1:2]))
    np.testing.assert_array_equal(steps["ColorJitter"], batch(dataset, jittered))
    grey = replace(jittered, ops=(*jittered.ops, MIXED.ops[2]))
    np.testing.assert_array_equal(steps["Grayscale"], batch(dataset, grey))
    np.testing.assert_array_equal(steps["flip"], batch(dataset, replace(grey, flip_probability=0.5)))
    for title, ops in (("normalize", grey.ops), ("RandomErasing", MIXED.ops)):
        values = batch(dataset, replace(MIXED, ops=ops)) * np.array(STD) + MEAN
        np.testing.assert_array_equal(steps[title], values.round().clip(0, 255))


@pytest.mark.slow
def test_a_sheet_has_the_loaders_mixed_batches(dataset: Dataset) -> None:
    """Tiles as large as the crop are its pixels."""
    crops = Transform(crop=RandomCrop(size=168), mean="none", lighting=Lighting(mode="off"), dtype="uint8")
    mix, preview = Mix(cutmix_alpha=1.0), Preview(rows=3, draws=2, seed=3)
    split = dataset.split("train")
    sheet = np.asarray(draw_transform(dataset, split, crops, None, preview, name="mine", mix=mix))
    loader = Loader(dataset, "train", batch_size=3, transform=crops, layout="NHWC", seed=3, mix=mix)
    for epoch in range(2):
        loader.set_epoch(epoch)
        for place, image in enumerate(next(iter(loader)).images.numpy()):
            column = sheet[:, 24 + place * 176 :][:, :168]
            assert any(np.array_equal(column[top : top + 168], image) for top in range(len(column) - 168))


@pytest.mark.slow
def test_fixed_views_have_no_flip_and_the_mean_image_is_undone_by_its_channels(dataset: Dataset) -> None:
    steps = rendered(dataset, Transform(crop=TenCrop(size=64)))
    assert list(steps) == ["TenCrop", "normalize"]
    np.testing.assert_array_equal(
        steps["TenCrop"], batch(dataset, Transform(crop=TenCrop(size=64), mean="none", dtype="uint8"))
    )
    shown = batch(dataset, Transform(crop=TenCrop(size=64))) + Statistics.load(dataset.folder).mean
    np.testing.assert_array_equal(steps["normalize"], shown.round().clip(0, 255))


def test_a_sheet_of_a_schedule_has_a_row_for_each_image_epoch_and_view(dataset: Dataset) -> None:
    """Nothing on it is cut: its margins are empty."""
    plain = Transform(crop=RandomCrop(size=64), mean="none", lighting=Lighting(mode="off"), ops=(Grayscale(),))
    schedule = Schedule({0: plain, 7: Transform(crop=CenterCrop(size=64), mean=MEAN)})
    preview = Preview(rows=2, draws=2, seed=3)
    sheet = np.asarray(draw_transform(dataset, dataset.split("train"), schedule, None, preview, name="mine"))
    for edge in (sheet[:24], sheet[-24:], sheet[:, :24], sheet[:, -24:]):
        assert (edge == PAPER).all()
    crops = rendered(dataset, replace(plain, ops=()))["RandomCrop"]
    for place in range(2):
        tile = np.asarray(Image.fromarray(crops[place, 0]).resize((168, 168), Image.Resampling.NEAREST))
        left = 24 + 168 + 8
        column = sheet[:, left : left + 168].astype(int)
        assert any(np.array_equal(column[top : top + 168], tile) for top in range(len(column) - 168))


def test_a_sheet_of_views_shows_what_a_loader_gives(dataset: Dataset) -> None:
    plain = Transform(crop=RandomCrop(size=64), mean="none", lighting=Lighting(mode="off"), dtype="uint8")
    views, preview = Views((plain, 2)), Preview(rows=1, draws=1, seed=3)
    sheet = np.asarray(draw_transform(dataset, dataset.split("train"), views, None, preview, name="mine"))
    batch = next(iter(Loader(dataset, "train", batch_size=1, transform=views, seed=3, layout="NHWC")))
    for view in batch.images:
        tile = np.asarray(Image.fromarray(view[0].numpy()).resize((168, 168), Image.Resampling.NEAREST))
        column = sheet[:, 24 + 2 * (168 + 8) :][:, :168]  # after the flip
        assert any(np.array_equal(column[top : top + 168], tile) for top in range(len(column) - 168))


def test_captions_say_what_was_drawn() -> None:
    context = Transform().context(256, None)
    policy = RandAugment(n=2, magnitude=30)
    drawn = {
        "operation": np.array([[policy.names.index(name) for name in ("Equalize", "Rotate")]]),
        "sign": np.array([[0, 1]]),
    }
    assert policy.describe(drawn, context) == "Equalize\nRotate -30"
    jitter = ColorJitter(brightness=0.5, hue=0.1)
    drawn = {"chance": np.zeros(1, np.float32), "place": np.full((1, 4), 0.75, np.float32)}
    assert jitter.describe(drawn, context) == "brightness 1.25\ncontrast 1.00\nsaturation 1.00\nhue 0.05"
    drawn = {"chance": np.zeros(1, np.float32), "place": np.full(1, 0.5, np.float32)}
    assert GaussianBlur(sigma=(1.0, 2.0)).describe(drawn, context) == "sigma 1.50"


def test_wrapped_text_fits_and_keeps_every_letter() -> None:
    font = ImageFont.load_default(13)
    text = "scale=(0.08, 1), interpolation=bilinear\naveryveryverylongwordwithoutanyplacetobreakit"
    lines = wrapped(text, 13, 90).split("\n")
    assert all(font.getlength(line) <= 90 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")
    assert wrapped("a b\n\nc", 13, 90) == "a b\n\nc"


CODE = """
from freelight.pipeline import CenterCrop, Schedule, Transform
small = Transform(crop=CenterCrop(size=64), mean="none")
schedule = Schedule({0: small})
number = 3
"""


def test_the_command_takes_files_modules_and_recipes_and_names_what_is_wrong(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command adds to it
    (tmp_path / "sheet_code.py").write_text(CODE)
    (tmp_path / "ends.py").write_text("raise SystemExit(3)")

    def run(transform: str, *more: str) -> str:
        words = ["--shards", str(dataset.folder), "--out", "x.png", "--rows", "1", "--draws", "1", *more]
        result = CliRunner().invoke(command, [*words, "--transform", transform])
        assert result.exit_code == (0 if (tmp_path / "x.png").exists() else 2), result.output
        (tmp_path / "x.png").unlink(missing_ok=True)
        return result.output

    for transform, first in (("sheet_code.py:small", " 1  CenterCrop  size=64"), ("paper", "from epoch 0")):
        *steps, last = run(transform).splitlines()
        assert steps[0].startswith(first)
        assert last.startswith("x.png: ")
    for transform, message in {
        "sheet_code:large": "sheet_code has no 'large'; of type Transform or Views or Schedule or Recipe are: small",
        "sheet_code.py:number": "is of type int, not Transform or Views or Schedule or Recipe",
        "none.py:x": "none.py is not a file",
        "ends.py:x": "ends.py cannot be imported (SystemExit: 3)",
        "no.such:x": "no.such cannot be imported (ModuleNotFoundError: No module named 'no')",
        "papper": "(=papper) is neither a recipe (paper, source, ",
        "sheet_code.py:": "must be <module>:<name>, or <file>.py:<name>",
    }.items():
        assert message in run(transform)
    assert "--transform says its own --lighting and --strength; omit them" in run("paper", "--strength", "0.1")
