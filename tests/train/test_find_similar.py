"""`tools/find_similar`: neighbours printed and drawn, and the table of codes against exact search."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from freelight.shards import Dataset
from freelight.train import Checkpoint
from freelight.train.inspection import (
    CodeConfig,
    Gallery,
    Picture,
    SimilarImages,
    Style,
    code_comparison,
    compare_codes,
    draw_similar,
)


def test_a_training_picture_is_nearest_to_itself(
    call: Any, run: Path, dataset: Dataset, pictures: Path, tmp_path: Path
) -> None:
    """As a file it is rescaled the same way, so its distance is 0 except for rounding."""
    words = ["--checkpoint", run / "last.pt", "--shards", dataset.folder, "--features", tmp_path / "f"]
    source = dataset.split("train").sources[7]
    found = call(
        "find_similar",
        *words,
        pictures / source,
        "--nearest",
        "3",
        "--panel",
        tmp_path / "alike.png",
        "--pixels",
        "600",
    )
    assert found.exit_code == 0, found.output
    name = dataset.manifest.classes[int(dataset.split("train").samples["label"][7])].name
    lines = found.stdout.splitlines()
    key = dataset.split("train").key(7)
    assert lines[:2] == [str(pictures / source), f"       0  {key} {name} {source}"]
    for line in lines[2:]:
        distance, key, *_, path = line.split()
        assert sum(map(str.isdigit, distance.lstrip("0."))) == 3, "three digits"
        assert key.startswith("train-")
        assert path in dataset.split("train").sources
    with Image.open(tmp_path / "alike.png") as panel:
        assert panel.width <= 600
    far = [*words[:2], "--shards", f"file://{dataset.folder}", "--cache", tmp_path / "cache", *words[4:]]
    assert call("find_similar", *far, pictures / source, "--nearest", "3").stdout == found.stdout
    itself = call("find_similar", *words, "--queries", "train")
    assert itself.exit_code == 2
    assert itself.stderr.startswith("error: --queries and --split are both train, so each image would find itself")
    few = call("find_similar", *words, "--bits", "64", "--rows", "2")
    assert few.exit_code == 2
    assert few.stderr.splitlines()[-1] == "error: train has 60 images; comparing codes needs at least 100: omit --bits"


def test_the_table_has_a_line_for_exact_search_each_code_and_pixels(
    run: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_comparison, "DEPTHS", (3, 6, 12))
    trained = Checkpoint.load(run / "last.pt")
    base, queries, *pixels = (
        Gallery.open(trained, dataset, split, tmp_path, space=space)
        for space in ("fc7", "pixels")
        for split in ("train", "val")
    )
    header, exact, codes, contrast = compare_codes(base, queries, (pixels[0], pixels[1]), [CodeConfig(bits=64)])
    assert header.split()[-1] == "precision@3"
    features = base.vectors.shape[1]
    assert exact.split()[:6] == ["fc7,", "exact,", str(features), "numbers", f"{4 * features:,}", exact.split()[5]]
    assert exact.split()[-4:-1] == ["100.0%"] * 3
    assert codes.split()[:3] == ["64-bit", "codes", "8"]
    assert contrast.split()[:6] == ["pixels,", "exact,", "32", "x", "32", "12,288"]


def test_without_labels_the_table_has_no_precision(
    run: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-1 is not a class: two images without labels are no hit, and one without a label is no miss."""
    monkeypatch.setattr(code_comparison, "DEPTHS", (3, 6, 12))
    monkeypatch.setattr(Gallery, "labels", np.full(20, -1))
    val = Gallery.open(Checkpoint.load(run / "last.pt"), dataset, "val", tmp_path)
    _, exact, _ = compare_codes(val, val, (val, val), [])
    assert exact.split()[-1] == "-"


@pytest.mark.parametrize("pixels", [390, 780, 1280])
def test_rows_of_similar_images_keep_to_the_width(pixels: int) -> None:
    picture = Picture(
        pixels=np.zeros((64, 64, 3), np.uint8), caption="a caption that is far too long for a tile", source=""
    )
    similar = SimilarImages(query=picture, nearest=[picture] * 6, distances=[0.0] * 6)
    panel = draw_similar([similar] * 2, Style(pixels=pixels))
    assert pixels / 2 < panel.width <= pixels
