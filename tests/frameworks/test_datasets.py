"""Hugging Face `datasets`: it streams the shards, every sample once, and hands on the batches of the loader."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from freelight.pipeline import Lighting, Loader, RandomCrop, Transform
from freelight.shards import Dataset

pytestmark = pytest.mark.slow

TRANSFORM = Transform(crop=RandomCrop(size=64), mean=(123.675, 116.28, 103.53), lighting=Lighting(mode="off"))


@pytest.fixture
def datasets() -> Any:
    """The package. Only these tests import it: collecting the default ones stays fast, and works without it."""
    return pytest.importorskip("datasets", reason="datasets is absent; install it with: pip install 'freelight[test]'")


@pytest.fixture
def loader(dataset: Dataset) -> Loader:
    return Loader(dataset, "train", batch_size=16, transform=TRANSFORM, extras=("samples",))


def test_the_streamed_shards_give_every_sample_once_with_the_label_of_the_loader(
    datasets: Any, loader: Loader, dataset: Dataset, tmp_path: Path
) -> None:
    """In each of three shuffled epochs, over two worker processes."""
    shards = str(dataset.folder / "train-*.tar")
    found = datasets.load_dataset("webdataset", data_files={"train": shards}, streaming=True, cache_dir=str(tmp_path))
    streamed = found["train"].with_format("torch").shuffle(seed=0, buffer_size=20)
    expected = {
        loader.split.key(sample): label
        for _, labels, samples in loader
        for sample, label in zip(samples.tolist(), labels.tolist(), strict=True)
    }
    assert len(expected) == 60
    workers: Any = {"num_workers": 2, "multiprocessing_context": "spawn", "persistent_workers": True}
    batches, orders = DataLoader(streamed, batch_size=8, **workers), []
    for epoch in range(3):
        streamed.set_epoch(epoch)
        seen = []
        for batch in batches:
            assert batch["jpg"].shape[1:] == (3, 256, 256)
            seen += zip(batch["__key__"], batch["cls"].tolist(), strict=True)
        assert sorted(seen) == sorted(expected.items())
        orders.append(seen)
    assert orders[0] != orders[1] != orders[2]


def test_the_folder_alone_gives_splits_labels_and_class_names(datasets: Any, dataset: Dataset, tmp_path: Path) -> None:
    """By the dataset card. The other files of the folder are not taken for data."""
    found = datasets.load_dataset(str(dataset.folder), cache_dir=str(tmp_path))
    assert list(found) == list(dataset.manifest.splits)
    for name, split in found.items():
        assert split.features["cls"].names == [info.name for info in dataset.manifest.classes]
        assert split["cls"] == dataset.split(name).samples["label"].tolist()
        assert split["__key__"] == [dataset.split(name).key(sample) for sample in range(len(split))]
        assert {picture.size for picture in split["jpg"]} == {(256, 256)}


def test_an_iterable_dataset_hands_on_the_batches_of_the_loader(datasets: Any, loader: Loader) -> None:
    """Behind a `DataLoader` without workers; one iteration is one epoch."""

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        for images, labels, samples in loader:
            yield {"images": images, "labels": labels, "samples": samples}

    handed_on = DataLoader(datasets.IterableDataset.from_generator(batches), batch_size=None)
    for epoch in range(3):
        found = list(handed_on)
        loader.set_epoch(epoch)
        for batch, (images, labels, samples) in zip(found, loader, strict=True):
            assert torch.equal(batch["images"], images)
            assert torch.equal(batch["labels"], labels)
            assert torch.equal(batch["samples"], samples)
        assert torch.equal(torch.cat([batch["samples"] for batch in found]).sort().values, torch.arange(60))
