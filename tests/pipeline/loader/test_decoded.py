"""With a store of decoded pixels, batches are those of the JPEG path, to the bit."""

import logging
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from loading import Seen, make
from mixed import draw_mixed, plain

from freelight.pipeline import (
    CenterCrop,
    GaussianBlur,
    Loader,
    Mix,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    TenCrop,
    Transform,
    Views,
)
from freelight.shards import Dataset, Statistics

SQUARE = 3 * 256 * 256
TRANSFORMS = {
    "uint8": plain(RandomCrop(size=48)),
    "paper": Transform(crop=RandomCrop(size=48)),
    "resized": plain(RandomResizedCrop(size=48)),
    "center window": Transform(crop=RandomCrop(size=48), mean="center window"),
    "shared": Transform(crop=RandomCrop(size=48, shared_by=32), mean="channel", std=(50.0, 60.0, 70.0)),
    "small": plain(RandomCrop(size=48, resize=64)),
    "center": Transform(crop=CenterCrop(size=48)),
    "ten": Transform(crop=TenCrop(size=48)),
    "ten resized": plain(TenCrop(size=48, resize=64, interpolation="random")),
    "ops": Transform(crop=RandomCrop(size=48), ops=(GaussianBlur(), RandomErasing())),
    "policy": Transform(crop=RandomResizedCrop(size=48), mean="none", ops=(RandAugment(),)),
    "views": Views((plain(RandomResizedCrop(size=48)), 2), plain(RandomCrop(size=32))),
}
QUICK = [("paper", "NCHW", 30), ("uint8", "NHWC", 60), ("resized", "NHWC", 60)]


def assert_equal(loader: Loader, other: Loader) -> None:
    """The next epochs of two loaders have the same batches."""
    for batch, same in zip(loader, other, strict=True):
        for tensors in zip(_tensors(batch), _tensors(same), strict=True):
            assert torch.equal(*tensors)


def _tensors(batch: Any) -> list[torch.Tensor]:
    images = batch.images if isinstance(batch.images, tuple) else (batch.images,)
    return [*images, batch.labels, batch.samples]


def flip_a_bit(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize(
    ("name", "layout", "kept"),
    [
        *QUICK,
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for name in TRANSFORMS
            for case in ((name, "NCHW", 30), (name, "NHWC", 60))
            if case not in QUICK
        ),
    ],
)
def test_every_transform_gets_the_same_batches(
    name: str, layout: Any, kept: int, dataset: Dataset, statistics: Statistics, tmp_path: Path
) -> None:
    """While the store is filled, and from a store of all or of half of the samples."""
    settings: dict[str, Any] = {"transform": TRANSFORMS[name], "statistics": statistics, "layout": layout}
    with (
        make(dataset, **settings) as loader,
        make(dataset, decoded=tmp_path, decoded_bytes=kept * SQUARE + 9, **settings) as stored,
    ):
        assert_equal(loader, stored)
        read = stored.bytes_read
        assert_equal(loader, stored)
        assert (stored.bytes_read == read) == (kept == 60), "stored samples need no JPEG"
    assert (tmp_path / "train.decoded.pixels").stat().st_size <= kept * SQUARE


def test_ranks_share_a_store(dataset: Dataset, whole: Seen, tmp_path: Path) -> None:
    """Each fills it with its share; in another epoch, with other shares, no rank decodes."""
    ranks = [make(dataset, rank=rank, world_size=3, decoded=tmp_path) for rank in range(3)]
    seen = Seen()
    for loader in ranks:
        seen.add_all(loader)
        loader.close()
    assert seen == whole
    again = [make(dataset, rank=rank, world_size=2, decoded=tmp_path) for rank in range(2)]
    seen = Seen()
    for loader in again:
        seen.add_all(loader)
        assert loader.bytes_read == 0
    assert seen == whole


@pytest.mark.parametrize("checks", ["first", pytest.param("always", marks=pytest.mark.slow)])
def test_a_flipped_bit_is_found_and_the_sample_decoded_anew(
    checks: Any, dataset: Dataset, whole: Seen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = tmp_path / "train.decoded.pixels"
    with make(dataset, decoded=tmp_path) as loader:
        assert Seen(loader) == whole
    sound = pixels.read_bytes()
    with make(dataset, decoded=tmp_path, decoded_check=checks) as loader:
        if checks == "always":  # also after it was read before
            assert Seen(loader) == whole
            loader.set_epoch(0)
        flip_a_bit(pixels, 17 * SQUARE + 5)
        with caplog.at_level(logging.WARNING):
            assert Seen(loader) == whole
    (line,) = caplog.messages
    assert line.startswith("stored pixels of 1 sample are damaged: ")
    assert dataset.split("train").key(17) in line
    assert pixels.read_bytes() == sound
    with pixels.open("r+b") as file:
        file.truncate(20 * SQUARE)
    with make(dataset, decoded=tmp_path, decoded_check=checks) as loader:
        assert Seen(loader) == whole
    assert pixels.read_bytes() == sound


@pytest.mark.slow
def test_whole_images_of_many_sizes(tmp_path: Path) -> None:
    """Their places in the store follow from their sizes; JPEGs in grey are stored in RGB."""
    mixed = draw_mixed(tmp_path / "mixed").dataset
    for number, crop in enumerate(
        (
            RandomResizedCrop(size=48, interpolation="random"),
            RandomCrop(size=17),
            CenterCrop(size=32, resize=40),
            TenCrop(size=16),
            TenCrop(size=24, resize=41),
        )
    ):
        for limit in (None, 10**6):
            settings: dict[str, Any] = {"transform": plain(crop), "batch_size": 7}
            with (
                make(mixed, **settings) as loader,
                make(mixed, decoded=tmp_path / f"{number} {limit}", decoded_bytes=limit, **settings) as stored,
            ):
                for _ in range(3):
                    assert_equal(loader, stored)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"mix": Mix(mixup_alpha=0.2, cutmix_alpha=1.0), "transform": TRANSFORMS["shared"]},
        {"repeats": 2, "batch_size": 14},
        {"steps_per_epoch": 5, "last": "drop"},
        {"order": "sequential", "num_threads": 5, "prefetch": 0},
    ],
)
def test_other_settings_of_the_loader(settings: dict[str, Any], dataset: Dataset, tmp_path: Path) -> None:
    for rank in range(2):
        given = {"rank": rank, "world_size": 2, **settings}
        with make(dataset, **given) as loader, make(dataset, decoded=tmp_path, **given) as stored:
            for _ in range(3):
                assert_equal(loader, stored)


def test_a_disk_that_refuses_to_write_is_said_once(
    dataset: Dataset, whole: Seen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Training goes on from the JPEGs, and from what was written before."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with make(dataset, decoded=tmp_path) as loader, caplog.at_level(logging.WARNING):
        resource.setrlimit(resource.RLIMIT_FSIZE, (20 * SQUARE + 1000, before[1]))
        try:
            assert Seen(loader) == whole
            loader.set_epoch(0)
            assert Seen(loader) == whole
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / 'train.decoded.pixels'} cannot be written (File too large); it has ")
    with make(dataset, decoded=tmp_path) as loader:
        assert Seen(loader) == whole


FILL = """
import sys
from freelight.pipeline import Loader, RandomResizedCrop, Transform
loader = Loader(sys.argv[1], "train", batch_size=2, transform=Transform(crop=RandomResizedCrop(size=32), mean="none"),
                decoded=sys.argv[2])
print("ready", flush=True)
for batch in loader:
    print("batch", flush=True)
"""


@pytest.mark.slow
def test_a_store_that_was_killed_while_it_was_filled(dataset: Dataset, whole: Seen, tmp_path: Path) -> None:
    """What is marked as there is there; the rest is decoded."""
    draws = random.Random(0)
    for attempt in range(4):
        filling = subprocess.Popen(
            [sys.executable, "-c", FILL, dataset.folder, tmp_path], stdout=subprocess.PIPE, text=True
        )
        assert filling.stdout is not None
        for _ in range(draws.randrange(1, 8 * attempt + 2)):
            filling.stdout.readline()
        time.sleep(draws.random() / 100)
        filling.send_signal(signal.SIGKILL)
        filling.wait()
        filling.stdout.close()
        if attempt % 2:
            continue
        table = (tmp_path / "train.decoded.table").read_bytes()
        with make(dataset, decoded=tmp_path, decoded_check="always") as loader:
            assert Seen(loader) == whole
        if attempt < 2:
            (tmp_path / "train.decoded.table").write_bytes(table)  # the next one goes on from what was there
