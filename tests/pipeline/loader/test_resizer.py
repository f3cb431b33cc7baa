"""The loader keeps its promises where torch resizes: memory, errors, ends of epochs, threads, copies, groups."""

import copy
import itertools
import pickle
import threading
from typing import Any

import numpy as np
import pytest
import torch
from loading import Seen, readers, resume
from mixed import plain

from freelight.pipeline import CenterCrop, Loader, RandomResizedCrop
from freelight.shards import Dataset, FreelightError

RESIZED = plain(RandomResizedCrop(size=48))


def make(dataset: Dataset, **settings: Any) -> Loader:
    return Loader(
        dataset, "train", **{"batch_size": 8, "transform": RESIZED, "extras": ("samples",), "seed": 3, **settings}
    )


@pytest.fixture(scope="module")
def expected(dataset: Dataset) -> Seen:
    return Seen(make(dataset, batch_size=60))


@pytest.mark.parametrize("prefetch", [0, 1, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_batches_that_a_consumer_keeps_do_not_change(prefetch: int, layout: Any, dataset: Dataset) -> None:
    """The crops' memory is used again, the batches' is not: here two epochs are kept."""
    loader = make(dataset, prefetch=prefetch, layout=layout)
    kept, copies = [], []
    for _ in range(2):
        for batch in loader:
            kept.append(batch.images)
            copies.append(batch.images.clone())
    assert len(kept) == 16
    assert all(map(torch.equal, kept, copies))


@pytest.mark.parametrize("settings", [{"prefetch": 0, "batch_size": 7}, {"prefetch": 4}, {"num_threads": 5}])
def test_batches_do_not_depend_on_threads_and_depth(settings: dict[str, Any], dataset: Dataset, expected: Seen) -> None:
    loader = make(dataset, **settings)
    assert Seen(loader) == expected
    other = Seen(loader)
    assert other.keys() == expected.keys()
    assert other != expected, "the next epoch has other windows"


def test_a_broken_off_epoch_is_resumed_and_its_threads_end(dataset: Dataset, expected: Seen) -> None:
    loader = make(dataset)
    seen = Seen(itertools.islice(loader, 3))
    seen.add_all(resume(loader))
    assert seen == expected
    loader.close()
    assert readers() == []


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))])
def test_a_copy_continues_after_the_last_batch(copied: Any, dataset: Dataset, expected: Seen) -> None:
    loader = make(dataset)
    seen = Seen(itertools.islice(loader, 3))
    seen.add_all(resume(copied(loader)))
    assert seen == expected


@pytest.mark.usefixtures("read_singly")
@pytest.mark.parametrize(("prefetch", "batch_size"), [(0, 8), (2, 8), (3, 60), (2, 1)])
def test_pictures_that_dali_cannot_decode_are_skipped_or_named(
    prefetch: int, batch_size: int, dataset: Dataset, expected: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {4, 5, 40}
    loader = make(dataset, on_error="skip", max_skipped=3, prefetch=prefetch, batch_size=batch_size)
    strict = make(dataset, prefetch=prefetch, batch_size=batch_size)
    for one in (loader, strict):
        sound = one.split.read
        monkeypatch.setattr(
            one.split, "read", lambda i, sound=sound: sound(i)[: len(sound(i)) // 2] if i in bad else sound(i)
        )
    assert Seen(loader) == {sample: value for sample, value in expected.items() if sample not in bad}
    assert set(loader.skipped) == bad
    with pytest.raises(FreelightError, match=r"train-00000\d.tar: sample train-\d{8} .* does not decode"):
        Seen(strict)


@pytest.mark.usefixtures("read_singly")
def test_unreadable_samples_are_skipped_and_short_shares_may_be_empty(
    dataset: Dataset, expected: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three ranks one gets no sample of the last batch, and one has a batch of which nothing is left."""
    seen = Seen()
    for rank in range(3):
        loader = make(dataset, batch_size=29, rank=rank, world_size=3, on_error="skip", max_skipped=60)
        sound, first = loader.split.read, set(next(iter(loader)).samples.tolist())

        def read(sample: int, sound: Any = sound, first: Any = first) -> bytes:
            if sample in first:
                raise FreelightError(f"sample {sample} is damaged")
            return sound(sample)

        monkeypatch.setattr(loader.split, "read", read)
        loader.set_epoch(0)
        batches = list(loader)
        assert [len(batch.images) for batch in batches] == [0, [10, 10, 9][rank], [1, 1, 0][rank]]
        assert set(loader.skipped) == first
        seen.add_all(batches)
    assert seen.items() <= expected.items()
    assert len(seen) == 31


def test_no_thread_is_left_by_a_loader_that_is_forgotten(dataset: Dataset) -> None:
    """The check of the threads follows each test."""
    for _ in range(2):
        assert len(next(iter(make(dataset, transform=plain(CenterCrop(size=32, resize=40)))))) == 3
    assert threading.active_count() < 50


def test_a_kept_batch_outlives_its_loader(dataset: Dataset) -> None:
    loader = make(dataset)
    images = next(iter(loader)).images
    before = images.clone()
    loader.close()
    del loader
    np.ones(10_000_000, np.uint8).sum()
    assert torch.equal(images, before)
