"""ImageNet's unusual files keep their colours through make_shards, in train and in val."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freelight.demo.drawing import draw_picture
from freelight.shards import Dataset, Rescaling, ShardSettings, list_images, make_shards


@pytest.mark.parametrize("split", ["train", "val"])
def test_cmyk_jpegs_and_a_png_named_jpeg_keep_their_colours(split: str, tmp_path: Path) -> None:
    """Like n01739381_1309 and ILSVRC2012_val_00019877 (CMYK), and n02105855_2933 (an RGBA PNG named .JPEG)."""
    images = tmp_path / "images"
    for name in ("train", "val"):
        (images / name / "n01739381").mkdir(parents=True)
        draw_picture(0, np.random.default_rng(9), (64, 64)).save(images / name / "n01739381" / "plain.JPEG")
    picture = draw_picture(3, np.random.default_rng(1), (64, 64))
    picture.convert("CMYK").save(images / split / "n01739381" / "cmyk.JPEG", "JPEG", quality=95)
    opaque = picture.copy()
    opaque.putalpha(200)
    opaque.save(images / split / "n01739381" / "png.JPEG", "PNG")
    make_shards(list_images(images), tmp_path / "out", ShardSettings(rescaling=Rescaling(size=64)))
    dataset = Dataset(tmp_path / "out")
    opened = dataset.split(split)
    for index, source in enumerate(opened.sources):
        if not source.endswith("plain.JPEG"):
            got = np.asarray(Image.open(io.BytesIO(opened.read(index)))).astype(np.int16)
            assert np.median(np.abs(got - np.asarray(picture))) <= 3, source
    assert dataset.manifest.splits[split].kinds == {"cmyk": 1, "colour": 2}
    opened.close()
