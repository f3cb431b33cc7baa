"""A damaged sample raises an error that names it, or is skipped within the limit; all others are returned."""

import hashlib
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loading import Seen, make, readers, resume

from freelight.pipeline import draw_epoch
from freelight.pipeline.reading import UndecodableError
from freelight.shards import Dataset, FreelightError, Split


def flip_byte(dataset: Dataset, split: Split, index: int) -> None:
    """Change one byte in the middle of a sample's JPEG; again: change it back."""
    row = split.samples[index]
    with open(dataset.folder / split.info.shards[int(row["shard"])].name, "r+b") as file:
        file.seek(int(row["offset"]) + int(row["length"]) // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def test_a_flipped_byte_is_an_error_that_names_the_sample(dataset_copy: Dataset, whole: Seen) -> None:
    """The error has shard, key and source. After the byte is repaired, the loader resumes and loses no
    sample."""
    loader = make(dataset_copy, batch_size=4)
    bad = int(draw_epoch(60, seed=0, epoch=0).order[41])
    flip_byte(dataset_copy, loader.split, bad)
    seen = Seen()
    for _ in range(2):  # not only once
        with pytest.raises(FreelightError) as caught:
            seen.add_all(resume(loader))
        shard = loader.split.info.shards[int(loader.split.samples["shard"][bad])].name
        for part in (shard, loader.split.key(bad), loader.split.sources[bad], "crc32"):
            assert part in str(caught.value)
        assert readers() == []
        assert loader.position == len(seen) <= 40
    flip_byte(dataset_copy, loader.split, bad)
    assert seen.add_all(resume(loader)) == whole


def test_a_shard_cut_short_or_missing_is_an_error(dataset_copy: Dataset) -> None:
    path = dataset_copy.folder / "train-000001.tar"
    whole = path.read_bytes()
    loader = make(dataset_copy)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FreelightError, match=r"train-000001\.tar: sample train-\d{8} \(from .*\) is cut short"):
        list(loader)
    path.unlink()
    with pytest.raises(FreelightError, match=r"train-000001\.tar is missing"):
        list(loader)
    path.write_bytes(whole)
    assert sum(len(batch.samples) for batch in loader) == 60 - loader.position or loader.position == 60


@pytest.mark.usefixtures("read_singly")
def test_a_picture_that_dali_cannot_decode_does_not_end_the_loader(
    dataset: Dataset, whole: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DALI's pipeline cannot be used after an error, so the loader makes a new one and repeats the batch."""
    loader = make(dataset)
    bad = int(draw_epoch(60, seed=0, epoch=0).order[33])
    sound = loader.split.read
    monkeypatch.setattr(loader.split, "read", lambda index: sound(index)[:300] if index == bad else sound(index))
    seen = Seen()
    with pytest.raises(FreelightError, match=r"does not decode \(.*\); make the dataset again") as caught:
        seen.add_all(loader)
    shard = loader.split.info.shards[int(loader.split.samples["shard"][bad])].name
    for part in (shard, loader.split.key(bad), loader.split.sources[bad]):
        assert part in str(caught.value)
    assert "decoders.image_crop" in str(caught.value.__cause__)
    assert len(seen) == loader.position == 32, "the batches before it were sound"
    monkeypatch.undo()
    assert seen.add_all(resume(loader)) == whole


def half(jpeg: bytes) -> bytes:
    """Cut a JPEG after its header: if the header is cut, DALI's decoder sometimes kills the process."""
    return jpeg[: len(jpeg) // 2]


@pytest.mark.usefixtures("read_singly")
@pytest.mark.parametrize("batch_size", [1, 4, 60])
@pytest.mark.parametrize("prefetch", [0, 3])
def test_pictures_that_dali_cannot_decode_are_skipped_within_the_budget(
    prefetch: int, batch_size: int, dataset: Dataset, whole: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two samples that follow each other in the order. In the next epoch they are not tried."""
    loader = make(dataset, batch_size=batch_size, prefetch=prefetch, on_error="skip", max_skipped=2)
    bad = draw_epoch(60, seed=0, epoch=0).order[32:34].tolist()
    sound = loader.split.read
    monkeypatch.setattr(loader.split, "read", lambda index: half(sound(index)) if index in bad else sound(index))
    assert Seen(loader) == {sample: seen for sample, seen in whole.items() if sample not in bad}
    assert list(loader.skipped) == bad
    assert all("does not decode" in reason for reason in loader.skipped.values())
    monkeypatch.setattr(UndecodableError, "__init__", None)
    assert Seen(loader).keys() == whole.keys() - set(bad)
    assert loader.epoch == 1


@pytest.mark.parametrize("world_size", [1, 3])
def test_damaged_samples_are_skipped_and_counted_and_all_ranks_end_together(
    world_size: int, dataset_copy: Dataset, whole: Seen
) -> None:
    """A flipped byte; then a shard cut short during the epoch; then one gone in the next."""
    ranks = [
        make(dataset_copy, batch_size=6, rank=rank, world_size=world_size, on_error="skip", max_skipped=60)
        for rank in range(world_size)
    ]
    split = ranks[0].split
    flipped = int(draw_epoch(60, seed=0, epoch=0).order[20])
    flip_byte(dataset_copy, split, flipped)
    cut = dataset_copy.folder / "train-000002.tar"
    seen, steps = Seen(), 0
    for batches in zip(*ranks, strict=True):
        steps += 1
        for batch in batches:
            seen.add(batch)
        if steps == 2:
            with cut.open("r+b") as file:
                file.truncate(10_000)
    assert steps == len(ranks[0]) == 10
    skipped: dict[int, str] = {}
    for loader in ranks:
        skipped |= loader.skipped
    assert seen == {sample: its for sample, its in whole.items() if sample not in skipped}
    assert set(skipped) - {flipped} <= set(np.flatnonzero(split.samples["shard"] == 2).tolist())
    assert len(skipped) > 2
    for sample, reason in skipped.items():
        assert ("changed (crc32 differs)" if sample == flipped else "cut short") in reason
        assert split.key(sample) in reason
        assert split.sources[sample] in reason

    (dataset_copy.folder / "train-000000.tar").unlink()
    sizes = [sum(len(batch.samples) for batch in batches) for batches in zip(*ranks, strict=True)]
    gone = set(np.flatnonzero(split.samples["shard"] == 0).tolist())
    skipped = {}
    for loader in ranks:
        skipped |= loader.skipped
    assert gone <= set(skipped)
    assert all("train-000000.tar is missing" in skipped[sample] for sample in gone - {flipped})
    assert sum(sizes) == 60 - len(skipped)
    assert len(sizes) == 10


def test_one_damaged_sample_too_many_ends_it_with_the_reason(dataset_copy: Dataset) -> None:
    loader = make(dataset_copy, batch_size=4, on_error="skip", max_skipped=2)
    for place in (20, 30, 41):
        flip_byte(dataset_copy, loader.split, int(draw_epoch(60, seed=0, epoch=0).order[place]))
    seen = Seen()
    with pytest.raises(FreelightError, match=r"more than `max_skipped` \(=2\) samples are damaged; .*crc32"):
        seen.add_all(loader)
    assert 20 <= len(seen) < 40


def test_an_io_error_names_the_sample(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a failing disk gives it."""

    def fails(*arguments: Any) -> bytes:
        raise OSError(5, "Input/output error")

    loader = make(dataset)
    monkeypatch.setattr("os.pread", fails)
    monkeypatch.setattr("os.preadv", fails)
    with pytest.raises(
        FreelightError, match=r"train-.*: sample train-\d{8} \(from .*\) cannot be read \(Input/output error\)"
    ):
        list(loader)


def test_images_of_another_size_than_the_manifest_says_are_an_error(dataset_copy: Dataset) -> None:
    """Crops of them would be other crops, without an error; or DALI's error, which names no sample."""
    object.__setattr__(dataset_copy.manifest, "image_size", 300)
    with pytest.raises(FreelightError, match=r"train\.samples\.npy: row 0: height \(=256\) must be 300"):
        next(iter(make(dataset_copy)))


@pytest.mark.parametrize(
    ("marker", "shift", "written", "message"),
    [
        (b"\xff\xc0", 5, (8000).to_bytes(2) + (65_000).to_bytes(2), "it declares 8000 x 65000 of 3"),  # 1.6 GB
        (b"\xff\xc4", 0, b"\x00\x00", "its header is damaged"),  # Pillow decodes it, DALI does not
    ],
)
def test_a_sample_with_a_hostile_header_is_named_before_it_is_decoded(
    marker: bytes, shift: int, written: bytes, message: str, dataset_copy: Dataset
) -> None:
    """Its checksums are right."""
    folder = Path(dataset_copy.folder)
    row = dataset_copy.split("val").samples[3]
    start, length = int(row["offset"]), int(row["length"])
    data = bytearray((folder / "val-000000.tar").read_bytes())
    place = data.index(marker, start) + shift
    data[place : place + len(written)] = written
    (folder / "val-000000.tar").write_bytes(data)
    table = np.load(folder / "val.samples.npy")
    table["crc32"][3] = zlib.crc32(data[start : start + length])
    np.save(folder / "val.samples.npy", table)
    changed = hashlib.sha256((folder / "val.samples.npy").read_bytes()).hexdigest()
    dataset_copy.manifest.splits["val"].files["val.samples.npy"] = changed
    with pytest.raises(FreelightError, match=rf"val-000000\.tar: sample val-\d{{8}} .* \({message}"):
        list(make(dataset_copy, "val", order="sequential"))
