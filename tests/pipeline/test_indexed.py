"""The loader on indexed tars: every sample once, resumable on other ranks, and other formats than plain JPEG."""

import csv
import functools
import hashlib
import http.server
import io
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from foreign_tars import SIDE, drawn, sample, write_tars
from PIL import Image, ImageOps

from freelight.benchmarks.peers import HOME, find_peer
from freelight.pipeline import CenterCrop, Lighting, Loader, RandomCrop, Transform
from freelight.shards import Dataset, FreelightError, compute_statistics, index_shards, list_tars, verify_dataset

SMALL = Transform(crop=RandomCrop(size=96), mean="none", lighting=Lighting(mode="off"), dtype="uint8")
Seen = dict[int, tuple[int, bytes]]
IMG2DATASET = find_peer("img2dataset", HOME)


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


def check_epochs(indexed: Dataset) -> None:
    """Two epochs on one and three ranks have every sample once; a state of three ranks is resumed on two."""
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


def test_two_epochs_have_every_sample_once_on_one_and_three_ranks_and_a_state_resumes_on_two(indexed: Dataset) -> None:
    check_epochs(indexed)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.skipif(
    IMG2DATASET is None, reason="img2dataset is absent; make it with: tools/benchmark peers img2dataset"
)
def test_the_output_of_img2dataset_is_a_dataset(tmp_path: Path) -> None:
    """It downloads drawn pictures from a server here; one is missing there."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(30):
        (pictures / f"{number}.jpg").write_bytes(drawn(number, size=(150, 120)))
    handler = functools.partial(Quiet, directory=str(pictures))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with (tmp_path / "list.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["url", "label"])
            rows.writerows((f"http://127.0.0.1:{server.server_port}/{number}.jpg", number % 3) for number in range(31))
        words = {
            "url_list": tmp_path / "list.csv",
            "input_format": "csv",
            "url_col": "url",
            "save_additional_columns": '["label"]',
            "output_format": "webdataset",
            "output_folder": tmp_path / "made",
            "image_size": SIDE,
            "resize_mode": "center_crop",
            "number_sample_per_shard": 11,
            "processes_count": 1,
            "thread_count": 4,
        }
        assert IMG2DATASET is not None
        program = [str(IMG2DATASET.with_name("img2dataset")), *(f"--{name}={value}" for name, value in words.items())]
        quiet = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "NO_PROXY": "127.0.0.1"}
        subprocess.run(program, env=quiet, check=True, capture_output=True)
        server.shutdown()
    tars = sorted((tmp_path / "made").glob("*.tar"))
    before = [hashlib.sha256(tar.read_bytes()).digest() for tar in tars]
    assert len(tars) == 3
    source = list_tars([f"train={tmp_path}/made/{{00000..00002}}.tar"], label="json:label", check="decode")
    made = index_shards(source, tmp_path / "out")
    assert (made.splits["train"].samples, made.splits["train"].per_class) == (30, {"min": 10, "max": 10, "mean": 10.0})
    check_epochs(Dataset(tmp_path / "out"))
    assert verify_dataset(tmp_path / "out", level="decode") == []
    assert [hashlib.sha256(tar.read_bytes()).digest() for tar in tars] == before


def upright(data: bytes) -> np.ndarray:  # type: ignore[type-arg]
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def pictures_of_all_formats(size: tuple[int, int]) -> list[tuple[bytes, str]]:
    """Return pictures and their suffixes: EXIF orientations, CMYK, grey, progressive, alpha, palette, PNG, WebP."""
    pictures: list[tuple[bytes, str]] = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        pictures += [(drawn(1, size=size, exif=exif), "jpg"), (drawn(2, size=size, kind="PNG", exif=exif), "png")]
        pictures += [(drawn(3, size=size, kind="WEBP", exif=exif, lossless=True), "webp")]
    pictures += [(drawn(4, size=size, mode=mode), "jpeg") for mode in ("CMYK", "L")]
    pictures += [(drawn(5, size=size, progressive=True), "jpg"), (drawn(8, size=size, kind="WEBP"), "webp")]
    pictures += [(drawn(6, size=size, kind="PNG", mode=mode), "png") for mode in ("RGBA", "LA", "P", "L", "1")]
    return [*pictures, (drawn(7, size=size, kind="WEBP", mode="RGBA"), "webp")]


@pytest.mark.parametrize(("size", "cut"), [((SIDE, SIDE), SIDE), ((70, 50), 40)])
def test_pictures_of_other_formats_have_pillows_pixels(size: tuple[int, int], cut: int, tmp_path: Path) -> None:
    pictures = pictures_of_all_formats(size)
    samples = [sample(number, data, suffix=suffix) for number, (data, suffix) in enumerate(pictures)]
    (tar,) = write_tars(tmp_path, "t", samples, len(samples))
    index_shards(list_tars([f"train={tar}"], check="decode"), tmp_path / "out")
    dataset = Dataset(tmp_path / "out")
    transform = Transform(crop=CenterCrop(size=cut), mean="none", lighting=Lighting(mode="off"), dtype="uint8")
    loader = Loader(dataset, "train", batch_size=len(pictures), transform=transform, extras=("samples",), layout="NHWC")
    (batch,) = loader
    for image, index in zip(batch.images.numpy(), batch.samples.tolist(), strict=True):
        whole = upright(pictures[index][0])
        top, left = ((side - cut) // 2 for side in whole.shape[:2])
        expected = whole[top : top + cut, left : left + cut]
        np.testing.assert_array_equal(image, expected, err_msg=f"picture {index}")
    if cut == SIDE:
        assert dataset.image_size == SIDE
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
