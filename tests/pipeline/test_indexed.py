"""The loader on indexed tars: every sample once, resumable on other ranks, and other formats than plain JPEG."""

import io
from pathlib import Path

import numpy as np
import pytest
from foreign_tars import SIDE, drawn, sample, write_tars
from PIL import Image, ImageOps

from freelight.pipeline import CenterCrop, Lighting, Loader, RandomCrop, Transform
from freelight.shards import Dataset, FreelightError, compute_statistics, index_shards, list_tars

SMALL = Transform(crop=RandomCrop(size=96), mean="none", lighting=Lighting(mode="off"), dtype="uint8")
WHOLE = Transform(crop=CenterCrop(size=SIDE), mean="none", lighting=Lighting(mode="off"), dtype="uint8")
Seen = dict[int, tuple[int, bytes]]


def load(
    dataset: Dataset, rank: int, world_size: int, *, state: object = None, stop: int | None = None
) -> tuple[list[Seen], object]:
    """Return what a rank sees, by sample, in each of two epochs; with `stop`, in that many batches of the first."""
    loader = Loader(
        dataset, "train", batch_size=6, transform=SMALL, extras=("samples",), rank=rank, world_size=world_size
    )
    if state is not None:
        loader.load_state_dict(state)  # type: ignore[arg-type]
    epochs: list[Seen] = []
    for _ in range(2):
        seen: Seen = {}
        for number, batch in enumerate(loader, 1):
            for image, label, index in zip(batch.images, batch.labels, batch.samples.tolist(), strict=True):
                assert index not in seen
                seen[index] = int(label), image.numpy().tobytes()
            if number == stop:
                return [seen], loader.state_dict()
        epochs.append(seen)
    return epochs, loader.state_dict()


def joined(parts: list[list[Seen]], epoch: int) -> Seen:
    found: Seen = {}
    for part in parts:
        assert found.keys().isdisjoint(part[epoch])
        found |= part[epoch]
    return found


def test_two_epochs_have_every_sample_once_on_one_and_three_ranks_and_a_state_resumes_on_two(indexed: Dataset) -> None:
    whole, _ = load(indexed, 0, 1)
    labels = indexed.split("train").samples["label"].tolist()
    for epoch in range(2):
        assert {index: label for index, (label, _) in whole[epoch].items()} == dict(enumerate(labels))
    three = [load(indexed, rank, 3)[0] for rank in range(3)]
    assert [joined(three, epoch) for epoch in range(2)] == whole
    stopped = [load(indexed, rank, 3, stop=2) for rank in range(3)]
    begun = joined([seen for seen, _ in stopped], 0)
    assert len(begun) == 12
    resumed = [load(indexed, rank, 2, state=stopped[0][1])[0] for rank in range(2)]
    assert begun | joined(resumed, 0) == whole[0]
    assert begun.keys().isdisjoint(joined(resumed, 0))
    assert joined(resumed, 1) == whole[1]


def upright(data: bytes) -> np.ndarray:  # type: ignore[type-arg]
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def test_pictures_of_other_formats_have_pillows_pixels(tmp_path: Path) -> None:
    """EXIF orientations, CMYK, grey and progressive JPEGs; PNG with and without alpha or palette; WebP."""
    pictures: list[tuple[bytes, str]] = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        pictures += [(drawn(1, exif=exif), "jpg"), (drawn(2, kind="PNG", exif=exif), "png")]
        pictures += [(drawn(3, kind="WEBP", exif=exif, lossless=True), "webp")]
    pictures += [(drawn(4, mode=mode), "jpeg") for mode in ("CMYK", "L")] + [(drawn(5, progressive=True), "jpg")]
    pictures += [(drawn(6, kind="PNG", mode=mode), "png") for mode in ("RGBA", "LA", "P", "L", "1")]
    pictures += [(drawn(7, kind="WEBP", mode="RGBA"), "webp"), (drawn(8, kind="WEBP"), "webp")]
    samples = [sample(number, data, suffix=suffix) for number, (data, suffix) in enumerate(pictures)]
    (tar,) = write_tars(tmp_path, "t", samples, len(samples))
    index_shards(list_tars([f"train={tar}"], check="decode"), tmp_path / "out")
    dataset = Dataset(tmp_path / "out")
    assert dataset.image_size == SIDE
    loader = Loader(dataset, "train", batch_size=len(pictures), transform=WHOLE, extras=("samples",), layout="NHWC")
    (batch,) = loader
    for image, index in zip(batch.images.numpy(), batch.samples.tolist(), strict=True):
        np.testing.assert_array_equal(image, upright(pictures[index][0]), err_msg=f"picture {index}")
    assert compute_statistics(dataset).images == len(pictures)


def test_statistics_of_indexed_tars_are_those_of_their_pixels(indexed: Dataset) -> None:
    split = indexed.split("train")
    pixels = np.stack([upright(split.read(index)) for index in range(len(split))])
    found = compute_statistics(indexed)
    np.testing.assert_allclose(found.mean, pixels.reshape(-1, 3).mean(0))
    assert found.images == len(split)


def test_a_missing_tar_is_named_by_the_loader(tmp_path: Path) -> None:
    (tar,) = write_tars(tmp_path, "t", [sample(0), sample(1)], 2)
    index_shards(list_tars([f"train={tar}"]), tmp_path / "out")
    tar.unlink()
    with pytest.raises(FreelightError, match=rf"a link to {tar}, is missing, though the manifest lists it"):
        list(Loader(Dataset(tmp_path / "out"), "train", batch_size=2, transform=SMALL))
