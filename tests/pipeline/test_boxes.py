"""A loader's fields: boxes lie where the crop shows what they surround, on any number of ranks and after a resume."""

import io
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from foreign_tars import write_tars
from PIL import Image

from freelight.pipeline import (
    CenterCrop,
    Crop,
    GraphContext,
    Lighting,
    Loader,
    Mix,
    Op,
    RandomCrop,
    RandomResizedCrop,
    Schedule,
    TenCrop,
    Transform,
)
from freelight.shards import Dataset, FreelightError, index_shards, list_tars

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
SIZES = ((150, 90), (90, 150), (96, 96), (211, 100))
"""Width and height. Some pictures are turned by EXIF, so that they are stored in another shape."""
CROPS: dict[str, Crop] = {
    "random": RandomCrop(size=64),
    "random of 80": RandomCrop(size=64, resize=80),
    "random of 160": RandomCrop(size=64, resize=160, interpolation="bicubic"),
    "still": RandomCrop(size=64, centered=True),
    "resized": RandomResizedCrop(size=64),
    "center": CenterCrop(size=64),
    "center of 80": CenterCrop(size=64, resize=80),
    "center by share": CenterCrop(size=64, crop_pct=0.9),
}


def marked(number: int, size: tuple[int, int], *, turned: bool) -> tuple[bytes, npt.NDArray[np.float32]]:
    """Draw three rectangles on black, each of one pure colour; return the PNG and their boxes, upright."""
    width, height = size
    generator = np.random.default_rng(number)
    pixels = np.zeros((height, width, 3), np.uint8)
    boxes = []
    for place, colour in enumerate(COLOURS):
        left, right = sorted(generator.choice(np.arange(width // 4) + place * (width // 3), 2, replace=False).tolist())
        top, bottom = sorted(generator.choice(height + 1, 2, replace=False).tolist())
        right, bottom = max(right, left + 6), min(max(bottom, top + 6), height)
        pixels[top:bottom, left:right] = colour
        boxes.append((left, top, right, bottom))
    exif = Image.Exif()
    picture = Image.fromarray(pixels)
    if turned:
        exif[0x0112] = 6
        picture = picture.transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    return buffer.getvalue(), np.array(boxes, np.float32)


def make(folder: Path, sizes: tuple[tuple[int, int], ...]) -> Dataset:
    samples = []
    for number in range(12):
        png, boxes = marked(number, sizes[number % len(sizes)], turned=number % 3 == 0)
        content = json.dumps({"label": 0, "boxes": boxes.tolist(), "kinds": [number, 7]}).encode()
        samples.append([(f"k{number}.png", png), (f"k{number}.json", content)])
    write_tars(folder / "tars", "t", samples, 5)
    fields = ["boxes=json:boxes", "kinds=json:kinds"]
    index_shards(list_tars([f"train={folder}/tars/*.tar"], label="json:label", fields=fields), folder / "out")
    return Dataset(folder / "out")


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("boxed"), SIZES)


def plain(crop: Crop, **settings: Any) -> Transform:
    return Transform(crop=crop, mean="none", lighting=Lighting(mode="off"), dtype="uint8", **settings)


def load(dataset: Dataset, crop: Crop, **settings: Any) -> Loader:
    settings = {"batch_size": 6, "transform": plain(crop), "extras": ("samples", "fields"), **settings}
    return Loader(dataset, "train", **settings)


def shown(image: npt.NDArray[np.uint8], colour: int) -> tuple[int, int, int, int] | None:
    """Return the box of the pixels (3, size, size) that are more than half a pure colour; None without any."""
    rows, columns = np.nonzero(image[colour] > 127)
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None


def check_boxes(dataset: Dataset, crop: Crop, **settings: Any) -> int:
    """Compare boxes of two images of each sample to the pixels, to one pixel; return the number of those shown."""
    count = 0
    for batch in load(dataset, crop, seed=3, repeats=2):
        for image, fields, sample in zip(batch.images.numpy(), batch.fields, batch.samples.tolist(), strict=True):
            assert fields["kinds"].tolist() == dataset.split("train").field("kinds", sample).tolist()
            boxes = fields["boxes"].numpy()
            assert (boxes.dtype, boxes.shape) == (np.float32, (3, 4))
            assert ((boxes >= 0) & (boxes <= crop.size)).all()
            for colour, box in enumerate(boxes):
                found = shown(image, colour)
                if found is None:
                    assert (box[2:] - box[:2]).min() <= 1
                else:
                    np.testing.assert_allclose(box, found, atol=1)
                    count += 1
    return count


SLOW = {"random of 160", "still", "center by share"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CROPS])
def test_boxes_lie_where_the_crop_shows_what_they_surround(name: str, boxed: Dataset) -> None:
    """Twelve pictures of four sizes, some turned by EXIF; flips are those of the seed."""
    assert check_boxes(boxed, CROPS[name]) > 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "resized", "center of 80"])
def test_so_do_boxes_on_squares(name: str, tmp_path: Path) -> None:
    dataset = make(tmp_path, ((96, 96),))
    assert dataset.image_size == 96
    assert check_boxes(dataset, CROPS[name]) > 12


def test_each_repeat_has_the_boxes_of_its_own_crop(boxed: Dataset) -> None:
    assert check_boxes(boxed, CROPS["resized"], repeats=2) > 24


def fields_of(loader: Any) -> dict[int, list[Any]]:
    return {
        sample: [fields[name].tolist() for name in ("boxes", "kinds")]
        for batch in loader
        for sample, fields in zip(batch.samples.tolist(), batch.fields, strict=True)
    }


def test_fields_do_not_depend_on_ranks_batches_or_a_resume(boxed: Dataset) -> None:
    crop = CROPS["resized"]
    whole = fields_of(load(boxed, crop))
    assert len(whole) == 12
    dealt: dict[int, list[Any]] = {}
    for rank in range(3):
        dealt |= fields_of(load(boxed, crop, rank=rank, world_size=3, batch_size=5))
    assert dealt == whole
    begun = load(boxed, crop)
    seen = fields_of(itertools.islice(begun, 1))
    rest = load(boxed, crop, batch_size=4)
    rest.load_state_dict(begun.state_dict())
    assert seen | fields_of(rest) == whole
    assert fields_of(begun) != whole, "a new epoch has new crops"


def test_extras_follow_in_their_order_and_an_empty_share_has_none(boxed: Dataset) -> None:
    loader = load(boxed, CROPS["random"], extras=("fields", "metadata", "samples"), rank=6, world_size=7)
    *_, batch = loader
    assert batch._fields == ("images", "labels", "samples", "metadata", "fields")
    assert (len(batch.images), batch.fields) == (0, [])
    for fields in next(iter(load(boxed, CROPS["random"]))).fields:
        assert {name: rows.dtype for name, rows in fields.items()} == {"boxes": torch.float32, "kinds": torch.int64}


@dataclass(frozen=True)
class Turn(Op):
    name, stage, moves_pixels = "turn", "pixels", True

    def nodes(self, image: Any, fed: Any, context: GraphContext) -> Any:
        return image

    def reference(self, image: Any, chosen: Any, context: Any) -> Any:
        return image


def test_what_boxes_cannot_follow_is_named(boxed: Dataset, indexed: Dataset) -> None:
    with pytest.raises(FreelightError, match="boxes follow a crop of one view, but TenCrop has 10; use another crop"):
        load(boxed, TenCrop(size=64))
    with pytest.raises(FreelightError, match="boxes do not follow the op 'turn'; take it out"):
        load(
            boxed,
            CROPS["random"],
            transform=Schedule({0: plain(CROPS["random"]), 5: plain(RandomCrop(), ops=(Turn(),))}),
        )
    with pytest.raises(FreelightError, match="boxes do not follow `mix`; take it out, or omit 'fields' from `extras`"):
        load(boxed, CROPS["random"], mix=Mix(cutmix_alpha=1.0))
    with pytest.raises(FreelightError, match=r"has no fields of train for `extras`; .* index-shards .* --field"):
        load(indexed, CROPS["random"])
