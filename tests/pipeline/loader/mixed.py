"""A dataset of pictures of many sizes, kept as they are, and what plain Pillow makes of them."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from freelight.demo.drawing import draw_picture
from freelight.pipeline import Lighting, Transform
from freelight.shards import Dataset, Rescaling, ShardSettings, list_images, make_shards

SIZES = [(375, 500), (500, 333), (256, 256), (40, 33), (30, 300), (300, 30), (200, 201), (333, 250), (17, 64), (64, 64)]
"""Height and width. Landscape, portrait, squares, tiny, 1:10; each is there twice, the second time in grey."""

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """A dataset, and its train split decoded by Pillow: uint8 (H, W, 3) each."""

    dataset: Dataset
    decoded: list[npt.NDArray[np.uint8]]

    @property
    def sizes(self) -> npt.NDArray[np.int32]:
        return np.array([picture.shape[:2] for picture in self.decoded], np.int32)


def draw_mixed(folder: Path) -> Mixed:
    for label, mode in enumerate(("RGB", "L")):
        (folder / "pictures" / "train" / mode).mkdir(parents=True)
        for number, size in enumerate(SIZES):
            picture = draw_picture(label, np.random.default_rng((label, number)), size).convert(mode)
            picture.save(folder / "pictures" / "train" / mode / f"{number}.JPEG", quality=90)
    source = list_images(folder / "pictures", val_fraction=None, class_names=None, seed=0)
    make_shards(source, folder / "made", ShardSettings(rescaling=Rescaling(geometry="original"), samples_per_shard=8))
    dataset = Dataset(folder / "made")
    split = dataset.split("train")
    decoded = [np.asarray(Image.open(io.BytesIO(split.read(i))).convert("RGB")) for i in range(len(split))]
    return Mixed(dataset=dataset, decoded=decoded)


def plain(crop: Any, **settings: Any) -> Transform:
    """Only the crop, as uint8."""
    return Transform(crop=crop, mean="none", lighting=Lighting(mode="off"), dtype="uint8", **settings)


def resized_whole(picture: npt.NDArray[np.uint8], shorter: int, interpolation: str) -> npt.NDArray[np.uint8]:
    """Resize as torchvision's `Resize(shorter)` resizes a Pillow picture."""
    height, width = picture.shape[:2]
    if height <= width:
        height, width = shorter, int(shorter * width / height)
    else:
        height, width = int(shorter * height / width), shorter
    return np.asarray(Image.fromarray(picture).resize((width, height), FILTERS[interpolation]))
