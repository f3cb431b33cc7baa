"""`tools/predict`: a picture file gets the same prediction as its sample in a dataset; text, JSON and panel."""

import dataclasses
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from freelight.shards import Dataset, FreelightError, Rescaling, ShardSettings, list_images, make_shards
from freelight.train import Checkpoint
from freelight.train.checkpoint import rescaling_of
from freelight.train.evaluation import ClassProbability, PicturePrediction, predict_files, predict_split
from freelight.train.inspection import Style, draw_predictions
from freelight.train.inspection.figure4 import RIGHT


@pytest.fixture(scope="module")
def trained(run: Path) -> Checkpoint:
    return Checkpoint.load(run / "last.pt")


def test_a_picture_file_is_rescaled_as_the_training_images_were(
    trained: Checkpoint, pictures: Path, tmp_path: Path
) -> None:
    """With bilinear resampling and quality 30, all pixels equal those of the sample in a dataset made that way."""
    settings = ShardSettings(rescaling=Rescaling(resampling="bilinear", quality=30))
    make_shards(list_images(pictures, val_fraction=None, seed=0), tmp_path / "dataset", settings)
    made = Dataset(tmp_path / "dataset")
    split = made.split("val")
    checkpoint = dataclasses.replace(trained, rescaling=rescaling_of(made.manifest.made_with, made.image_size))
    for sample in (0, 7, 19):
        (prediction,) = predict_files(checkpoint, [pictures / split.sources[sample]], views=1)
        np.testing.assert_array_equal(prediction.pixels, np.asarray(Image.open(io.BytesIO(split.read(sample)))))


@pytest.mark.parametrize("views", [1, 10])
def test_a_picture_file_gets_the_probabilities_of_its_sample(
    views: int, trained: Checkpoint, dataset: Dataset, pictures: Path
) -> None:
    split = dataset.split("val")
    paths = [pictures / source for source in split.sources[:4]]
    expected = predict_split(trained, dataset, "val", views=views)
    assert expected is not None
    for row, one, path in zip(expected.probabilities, predict_files(trained, paths, views=views), paths, strict=False):
        best = np.argsort(-row, kind="stable")[:5]
        assert [top.class_id for top in one.top_classes] == [trained.class_ids[label] for label in best]
        np.testing.assert_allclose([top.probability for top in one.top_classes], row[best], rtol=0, atol=1e-5)
        assert one.true_class == path.parent.name


def test_it_says_text_or_json_and_draws_a_panel(
    call: Any, run: Path, trained: Checkpoint, pictures: Path, tmp_path: Path
) -> None:
    image = next((pictures / "val").rglob("*.JPEG"))
    panel = tmp_path / "panel.png"
    told = call("predict", "--checkpoint", run / "last.pt", image, "--panel", panel, "--pixels", "600")
    assert told.exit_code == 0, told.output
    (one,) = predict_files(trained, [image], views=10)
    guesses = ", ".join(f"{top.name} {top.probability:.1%}" for top in one.top_classes)
    assert told.stdout == f"{image}: {guesses}\n"
    with Image.open(panel) as drawn:
        assert drawn.width <= 600
    read = json.loads(call("predict", "--checkpoint", run / "last.pt", image, "--json").stdout)
    assert read["image"] == str(image)
    assert [guess["name"] for guess in read["predictions"]] == [top.name for top in one.top_classes]


def test_a_file_that_is_no_picture_is_named_on_one_line(
    call: Any, run: Path, trained: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(FreelightError, match=r"text\.jpg: cannot decode: not a picture in a known format"):
        list(predict_files(trained, [tmp_path / "text.jpg"], views=1))
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(FreelightError, match=r"pipe\.jpg is not a regular file; give picture files"):
        list(predict_files(trained, [tmp_path / "pipe.jpg"], views=1))
    missing = call("predict", "--checkpoint", run / "last.pt", tmp_path / "none.jpg")
    assert missing.exit_code == 2
    assert missing.stderr == f"error: {tmp_path}/none.jpg: No such file or directory; correct the path\n"
    wrong = call("predict", "--checkpoint", run / "last.pt", tmp_path / "none.jpg", "--panel", tmp_path / "panel.jpg")
    assert wrong.stderr.endswith(f"Invalid value for '--panel': {tmp_path}/panel.jpg must end in .png\n")


def shown(truth: str | None) -> PicturePrediction:
    best = tuple(
        ClassProbability(class_id=f"id{n}", name=f"name {n}", probability=p) for n, p in enumerate((0.5, 0.25, 0.125))
    )
    return PicturePrediction(
        source="folder/x.jpg", pixels=np.zeros((64, 64, 3), np.uint8), top_classes=best, true_class=truth
    )


@pytest.mark.parametrize(("truth", "share"), [("id0", 0.5), ("id1", 0.25), ("id9", 0), (None, 0)])
def test_the_right_class_alone_has_a_red_bar_as_long_as_its_probability(truth: str | None, share: float) -> None:
    names = {f"id{n}": f"name {n}" for n in range(10)}
    panel = np.asarray(draw_predictions([shown(truth)], names, Style(pixels=400)))
    red = (panel == RIGHT).all(axis=2).sum(axis=1)
    black = (panel == 0).all(axis=2).sum(axis=1)
    picture = int(np.flatnonzero(black == black.max())[0])
    assert red[picture:].max() == round(black.max() * share)
    assert bool(red[:picture].any()) is (truth is not None), "above is the legend of the two colours"


@pytest.mark.parametrize("pixels", [390, 780, 1280])
def test_a_panel_keeps_to_its_width_and_its_tiles_to_many_lines_of_text(pixels: int) -> None:
    panel = draw_predictions(
        [shown("id0")] * 8, {"id0": "a name that is far too long for the tile " * 3}, Style(pixels=pixels)
    )
    assert pixels - 30 <= panel.width <= pixels
    with pytest.raises(FreelightError, match="`pixels`"):
        Style(pixels=100)
