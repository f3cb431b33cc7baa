"""Several samples read at once are the same bytes as each read alone, and a fault is that of one sample."""

import gc
import os
import random
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from freelight.shards import Dataset, FreelightError, Split
from freelight.shards.base import crc32
from freelight.shards.images import FrameReader, read_frame


def read_all(split: Split, indices: Iterable[int]) -> list[bytes | None]:
    found = split.read_all(np.array(list(indices)), lambda size: np.full(size, 255, np.uint8))
    return [None if jpeg is None else bytes(jpeg) for jpeg in found]


def test_the_checksum_is_that_of_zlib() -> None:
    for size in (0, 1, 7, 64, 1000, 65_537):
        data = random.Random(size).randbytes(size)
        assert crc32(data) == crc32(memoryview(data)) == zlib.crc32(data)


def test_a_header_that_is_known_is_read_as_a_new_one(dataset: Dataset) -> None:
    """Also where only the pixels end too soon, or one byte of the header differs."""
    reader = FrameReader()
    jpeg = dataset.split("train").read(0)
    header = jpeg.index(b"\xff\xda") + 2
    others = [jpeg[:at] + bytes([jpeg[at] ^ 1]) + jpeg[at + 1 :] for at in range(header)]
    others += [jpeg[: header + more] for more in range(-2, 12)]
    for other in others:
        assert reader.read(jpeg) == reader.read(np.frombuffer(jpeg, np.uint8)) == (256, 256, 3)
        assert reader.read(other) == read_frame(other)


def test_samples_read_at_once_are_those_read_alone(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order; neighbours in a shard take one read.

    The garbage collector counts none of them: it would walk all objects of a trainer, 0.1 s, once in 80 batches.
    """
    split = dataset.split("train")
    alone = [split.read(index) for index in range(len(split))]
    reads = []
    preadv = os.preadv
    monkeypatch.setattr("os.preadv", lambda *words: (reads.append(words), preadv(*words))[1])
    assert read_all(split, range(60)) == alone
    assert len(reads) == len(split.info.shards)
    shuffled = random.Random(0).sample(range(60), 60)
    assert read_all(split, shuffled) == [alone[index] for index in shuffled]
    assert read_all(split, [7]) == [alone[7]]
    assert not any(map(gc.is_tracked, split.read_all(np.arange(9), lambda size: np.empty(size, np.uint8))))
    assert read_all(split, [9, 8, 9]) == [alone[9], alone[8], alone[9]]


def test_a_damaged_sample_among_others_is_left_to_read(dataset_copy: Dataset) -> None:
    """Also one of which a part is in memory from another batch."""
    split = dataset_copy.split("train")
    alone = [split.read(index) for index in range(60)]
    rows = split.samples
    flipped, cut = 3, int(np.flatnonzero(rows["shard"] == 1)[4])
    first, second = (dataset_copy.folder / split.info.shards[shard].name for shard in (0, 1))
    with Path(first).open("r+b") as file:
        file.seek(int(rows["offset"][flipped]) + 1000)
        file.write(b"!")
    with Path(second).open("r+b") as file:
        file.truncate(int(rows["offset"][cut] + rows["length"][cut]) - 1)
    damaged = {flipped, *np.flatnonzero((rows["shard"] == 1) & (rows["offset"] >= rows["offset"][cut])).tolist()}
    Path(dataset_copy.folder / split.info.shards[2].name).unlink()
    split.close()
    damaged |= set(np.flatnonzero(rows["shard"] == 2).tolist())
    before = np.frombuffer(b"".join(alone) + bytes(60 * 4096), np.uint8)
    again = split.read_all(np.arange(60), lambda size: before[:size].copy())
    assert [index for index, jpeg in enumerate(again) if jpeg is None] == sorted(damaged)
    assert all(bytes(jpeg) == alone[index] for index, jpeg in enumerate(again) if jpeg is not None)
    for index, words in ((flipped, "crc32 differs"), (cut, "cut short"), (max(damaged), "is missing")):
        with pytest.raises(FreelightError, match=words):
            split.read(index)
