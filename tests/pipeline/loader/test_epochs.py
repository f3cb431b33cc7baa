"""The loader returns every sample exactly once per epoch, on any number of ranks."""

import dataclasses
import gc
import time
import weakref
import zlib

import numpy as np
import pytest
import torch
from loading import SMALL, Seen, make

from freelight.pipeline import Crop, RandomCrop, RandomResizedCrop, TenCrop, Transform, draw_epoch
from freelight.shards import Dataset, Statistics


@pytest.mark.parametrize("batch_size", [1, 7, 16, 59, 60, 64])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_epoch_has_each_sample_once_however_it_is_dealt(
    batch_size: int, world_size: int, dataset: Dataset, whole: Seen
) -> None:
    """With batches of 59, the last has one sample: the second and third rank get an empty share, and the same steps."""
    loaders = [make(dataset, batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(loader) for loader in loaders} == {-(-60 // batch_size)}
    for epoch in range(2):
        order = draw_epoch(60, seed=0, epoch=epoch).order
        seen = Seen()
        steps = 0
        for batches in zip(*loaders, strict=True):
            expected = order[steps * batch_size : (steps + 1) * batch_size]
            assert np.array_equal(np.concatenate([batch.samples for batch in batches]), expected)
            sizes = [len(batch.samples) for batch in batches]
            assert max(sizes) - min(sizes) <= 1
            for batch in batches:
                assert batch.images.shape == (len(batch.samples), 3, 96, 96)
                assert batch.images.dtype == torch.uint8
                assert batch.labels.dtype == torch.int64
                seen.add(batch)
            steps += 1
        assert steps == len(loaders[0])
        assert seen.keys() == whole.keys()
        if epoch == 0:
            assert seen == whole, "the pixels of a sample depend on the batch or the rank that it came to"


def test_labels_are_the_samples_tables(dataset: Dataset) -> None:
    for name in ("train", "val"):
        loader = make(dataset, name)
        labels = {sample: label for sample, (label, _) in Seen(loader).items()}
        assert labels == dict(enumerate(loader.split.samples["label"].tolist()))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("crop", [RandomCrop(size=32), RandomResizedCrop(size=32), TenCrop(size=32)])
def test_an_empty_share_has_the_shape_and_type_of_the_others(
    crop: Crop, layout: str, dataset: Dataset, statistics: Statistics
) -> None:
    transform = Transform(crop=crop, mean="channel", dtype="float16")
    loader = make(
        dataset, "val", batch_size=19, world_size=2, rank=1, layout=layout, transform=transform, statistics=statistics
    )
    full, empty = loader
    assert (len(full.images), len(empty.images), len(empty.labels), len(empty.samples)) == (9, 0, 0, 0)
    assert empty.images.shape[1:] == full.images.shape[1:]
    assert (empty.images.dtype, empty.labels.dtype) == (full.images.dtype, full.labels.dtype)


def test_iterating_again_goes_on_to_the_next_epoch(dataset: Dataset, whole: Seen) -> None:
    loader = make(dataset)
    for epoch in range(3):
        order = np.concatenate([batch.samples for batch in loader])
        assert loader.epoch == epoch
        assert np.array_equal(order, draw_epoch(60, seed=0, epoch=epoch).order)
    again = Seen(loader)
    assert again.keys() == whole.keys()
    assert all(again[sample] != whole[sample] for sample in range(0, 60, 7)), "each epoch has its own crops"


def test_sequential_order_is_the_written_one_with_fresh_draws(dataset: Dataset, whole: Seen) -> None:
    loader = make(dataset, order="sequential")
    for _ in range(2):
        seen = Seen(loader)
        assert list(seen) == list(range(60))
        assert (seen == whole) == (loader.epoch == 0), "a sample's draws do not depend on the order"


def test_set_epoch_starts_that_epoch_and_leaves_an_unfinished_one(dataset: Dataset) -> None:
    loader = make(dataset)
    loader.set_epoch(4)
    first = Seen(loader)
    assert list(first) == draw_epoch(60, seed=0, epoch=4).order.tolist()
    loader.set_epoch(4)
    assert Seen(loader) == first, "the same epoch again is the same pixels again"
    next(iter(loader))
    loader.set_epoch(2)
    assert loader.position == 0
    assert list(Seen(loader)) == draw_epoch(60, seed=0, epoch=2).order.tolist()


@pytest.mark.parametrize(("batch_size", "steps"), [(16, 3), (20, 3), (59, 1), (60, 1)])
def test_a_short_last_batch_can_be_dropped(batch_size: int, steps: int, dataset: Dataset, whole: Seen) -> None:
    loaders = [make(dataset, batch_size=batch_size, last="drop", rank=rank, world_size=2) for rank in range(2)]
    for epoch in range(2):
        seen = Seen()
        sizes = []
        for batches in zip(*loaders, strict=True):
            sizes.append(sum(len(seen_by.samples) for seen_by in batches))
            for batch in batches:
                seen.add(batch)
        assert sizes == [batch_size] * steps == [batch_size] * len(loaders[0])
        assert list(map(set, (seen,))) == [
            set(draw_epoch(60, seed=0, epoch=epoch).order[: batch_size * steps].tolist())
        ]
        assert epoch or seen.items() <= whole.items()
        assert loaders[0].epoch == epoch


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_batch_stays_as_it_was_when_later_ones_come(dtype: str, dataset: Dataset) -> None:
    """Batches are DALI's memory without a copy, so DALI must not reuse it while a batch is referenced."""
    transform = dataclasses.replace(SMALL, dtype=dtype)
    loader = make(dataset, batch_size=4, transform=transform)
    held, checksums = [], []
    for _ in range(2):
        for batch in loader:
            held.append(batch.images)
            checksums.append(zlib.crc32(batch.images.numpy()))
    del loader
    assert len({images.data_ptr() for images in held}) == len(held) == 30
    assert [zlib.crc32(images.numpy()) for images in held] == checksums


def test_the_wait_for_batches_is_counted(dataset: Dataset) -> None:
    """The consumer's own time does not count as waiting."""
    loader = make(dataset)
    start = time.perf_counter()
    for _ in loader:
        time.sleep(0.05)
    assert 0 < loader.wait_seconds <= time.perf_counter() - start - 4 * 0.05


def test_a_dropped_loader_gives_its_memory_back_at_once(dataset: Dataset) -> None:
    """It has no reference cycle, so batches decoded ahead need no garbage collector."""
    for stop in (1, 1000):
        loader = make(dataset)
        gc.collect()
        gc.disable()
        try:
            for _ in zip(range(stop), loader, strict=False):
                pass
            dropped = weakref.ref(loader)
            del loader
            assert dropped() is None
        finally:
            gc.enable()


@pytest.mark.gpu
@pytest.mark.parametrize("transform", [SMALL, Transform(crop=SMALL.crop)], ids=["uint8", "mean image"])
def test_batches_on_a_gpu_stay_as_they_were(transform: Transform, dataset: Dataset) -> None:
    """On any current stream, and while the stream is behind the host."""
    stream = torch.cuda.Stream()
    loader = make(dataset, batch_size=4, device="cuda", transform=transform)
    held, sums = [], []
    with torch.cuda.stream(stream):
        for _ in range(2):
            for batch in loader:
                torch.cuda._sleep(10_000_000)
                held.append(batch.images)
                sums.append(batch.images.sum(dtype=torch.float64))
                batch.images.clone()
    torch.cuda.synchronize()
    assert [float(images.sum(dtype=torch.float64)) for images in held] == [float(total) for total in sums]
    assert len({images.data_ptr() for images in held}) == len(held)
