"""A dataset of ImageNet's size opens within a second."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest

from freelight.shards import Dataset, Manifest
from freelight.shards.dataset import SAMPLE, ShardInfo, SplitInfo, summarize_sizes
from freelight.shards.sources import ClassInfo


@pytest.mark.slow
def test_the_table_and_manifest_of_imagenets_size_load_in_a_second(tmp_path: Path) -> None:
    """1,281,167 samples in 641 shards, 1,000 classes; this includes checking the table's hash."""
    made_with = {"limit": None, "samples_per_shard": 2000, "jpeg_decoder": "none"}
    table = np.zeros(1_281_167, SAMPLE)
    place = np.arange(len(table))
    table["shard"], table["label"], table["length"] = place // 2000, place % 1000, 50_000
    table["height"] = table["width"] = 256
    table["offset"] = 1536 + place % 2000 * 51_712
    np.save(tmp_path / "train.samples.npy", table)
    digest = hashlib.sha256((tmp_path / "train.samples.npy").read_bytes()).hexdigest()
    counts = np.bincount(table["shard"]).tolist()
    shards = tuple(ShardInfo(f"train-{k:06d}.tar", count, 2 * 10**8, "0" * 64) for k, count in enumerate(counts))
    files = {f"train-{k:06d}.idx": "0" * 64 for k in range(641)} | {"train.samples.npy": digest}
    split = SplitInfo(len(table), True, 0, None, {"colour": len(table)}, shards, files, summarize_sizes(table))
    classes = tuple(ClassInfo(f"n{k:08d}", "a name, and another") for k in range(1000))
    Manifest(classes, "wnid", 256, made_with, {}, {"train": split}, {}).save(tmp_path)
    start = time.process_time()
    assert len(Dataset(tmp_path).split("train")) == 1_281_167
    assert time.process_time() - start < 1


def test_the_manifest_ends_in_its_own_hash(dataset: Dataset) -> None:
    assert dataset.manifest.to_bytes() == (dataset.folder / "dataset.json").read_bytes()
