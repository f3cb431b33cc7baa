"""Repeated augmentation: each sample several times in a global batch, with draws of its own each time."""

import dataclasses
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from loading import SMALL, Seen, make

from freelight.pipeline import (
    Batch,
    ColorJitter,
    Loader,
    Mix,
    RandAugment,
    RandomErasing,
    RandomResizedCrop,
    Schedule,
    draw_epoch,
)
from freelight.shards import Dataset, FreelightError

ORDER = draw_epoch(60, seed=0, epoch=0).order.tolist()
RICH = dataclasses.replace(
    SMALL,
    crop=RandomResizedCrop(size=32),
    dtype="float32",
    ops=(ColorJitter(brightness=0.4, saturation=0.4), RandomErasing(p=0.5)),
)


def images(batches: Iterable[Batch]) -> list[tuple[int, int, int]]:
    """Return sample, label and checksum of the pixels of each image."""
    return [
        (sample, label, zlib.crc32(image.numpy()))
        for batch in batches
        for image, label, sample in zip(batch.images, batch.labels.tolist(), batch.samples.tolist(), strict=True)
    ]


def ranks(dataset: Dataset, world_size: int, **settings: Any) -> list[Loader]:
    return [make(dataset, rank=rank, world_size=world_size, **settings) for rank in range(world_size)]


def test_an_epoch_has_each_sample_k_times_with_other_draws_each_time(dataset: Dataset, whole: Seen) -> None:
    """A batch has its samples once, then again, and so on. The first time they are as without repeats."""
    loader = make(dataset, batch_size=24, repeats=3)
    assert len(loader) == 8
    found = [images([batch]) for batch in loader]
    samples = [[sample for sample, _, _ in batch] for batch in found]
    assert samples == [ORDER[first : first + 8] * 3 for first in range(0, 60, 8)]
    firsts = {sample: (label, pixels) for batch in found for sample, label, pixels in batch[: len(batch) // 3]}
    assert firsts == whole
    assert len({item for batch in found for item in batch}) == 180, "occurrences of a sample are equal"
    assert (loader.position, loader.epoch) == (180, 0)
    assert [batch.samples.tolist() for batch in loader] != samples, "the next epoch"


def test_pixels_are_those_of_the_reference(dataset: Dataset, decoded: dict[str, Any]) -> None:
    transform = dataclasses.replace(RICH, crop=dataclasses.replace(SMALL.crop, size=64))
    batch = next(iter(make(dataset, batch_size=4, repeats=2, transform=transform)))
    for place, image in enumerate(batch.images.numpy()):
        sample = int(batch.samples[place])
        draws = draw_epoch(60, seed=0, epoch=0).occurrence(repeat=place // 2)
        expected = transform.apply(decoded["train"][sample], draws, sample, None)
        assert np.abs(image - expected).mean() < 0.5


@pytest.mark.parametrize("world_size", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_batches_are_equal_on_any_number_of_ranks(world_size: int, dataset: Dataset) -> None:
    """Whatever is drawn; and with at least three ranks, no rank gets a sample twice in a batch."""
    alone = list(make(dataset, batch_size=42, repeats=3, transform=RICH))
    settings = {"num_threads": 1, "prefetch": 0} if world_size == 3 else {"num_threads": 3, "prefetch": 5}
    shares = zip(*ranks(dataset, world_size, batch_size=42, repeats=3, transform=RICH, **settings), strict=True)
    for expected, batches in zip(alone, shares, strict=True):
        assert torch.equal(torch.cat([batch.images for batch in batches]), expected.images)
        assert torch.equal(torch.cat([batch.labels for batch in batches]), expected.labels)
        for batch in batches:
            assert len(set(batch.samples.tolist())) == len(batch.samples)


@pytest.mark.parametrize(
    ("steps", "world_size", "batch_size"),
    [(2, 3, 33), *(pytest.param(*leg, marks=pytest.mark.slow) for leg in [(1, 4, 9), (7, 1, 180)])],
)
def test_a_state_continues_on_other_ranks_with_other_batches(
    steps: int, world_size: int, batch_size: int, dataset: Dataset
) -> None:
    whole = Counter(images(make(dataset, batch_size=60, repeats=3, transform=RICH)))
    found: Counter[Any] = Counter()
    for loader in ranks(dataset, 2, batch_size=24, repeats=3, transform=RICH):
        found.update(images(itertools.islice(loader, steps)))
    state = json.loads(json.dumps(loader.state_dict()))
    assert (state["position"], state["repeats"]) == (24 * steps, 3)
    for loader in ranks(dataset, world_size, batch_size=batch_size, repeats=3, transform=RICH):
        loader.load_state_dict(state)
        found.update(images(loader))
    assert found == whole


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 3, 4])
def test_every_resume_point_of_policies_schedule_and_repeats_is_exact(world_size: int, dataset: Dataset) -> None:
    """Two epochs of five batches of 36; the transform changes between them, and the readers differ in all settings."""
    augmented = dataclasses.replace(RICH, ops=(RandAugment(n=2, magnitude=9), *RICH.ops))
    settings: dict[str, Any] = {"repeats": 3, "transform": Schedule({0: augmented, 1: RICH})}

    def epochs(loader: Loader) -> Iterable[tuple[int, Batch]]:
        while loader.epoch < 1 or loader.position < 180:
            yield from ((loader.epoch, batch) for batch in loader)

    loader = make(dataset, batch_size=36, **settings)
    steps, states = [], [loader.state_dict()]
    for epoch, batch in epochs(loader):
        steps.append([(epoch, *image) for image in images([batch])])
        states.append(json.loads(json.dumps(loader.state_dict())))
    assert len(steps) == 10
    for done, state in enumerate(states[:-1]):
        rest: Counter[Any] = Counter()
        for rank in range(world_size):
            ahead = {"prefetch": done % 4, "num_threads": 1 + done % 3}
            other = make(dataset, batch_size=36 - 9 * (done % 3), rank=rank, world_size=world_size, **ahead, **settings)
            other.load_state_dict(state)
            rest.update((epoch, *image) for epoch, batch in epochs(other) for image in images([batch]))
        assert rest == Counter(itertools.chain(*steps[done:])), f"after {done} steps"


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_mixed_batches_of_repeats_are_equal_on_any_number_of_ranks(world_size: int, dataset: Dataset) -> None:
    """From the start of a permutation, and resumed inside it: pixels, soft labels and samples."""
    augmented = dataclasses.replace(RICH, ops=(RandAugment(n=2, magnitude=9), *RICH.ops))
    mix = Mix(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1)
    settings: dict[str, Any] = {"batch_size": 42, "repeats": 3, "transform": augmented, "mix": mix}
    alone = make(dataset, **settings)
    batches, states = [], [alone.state_dict()]
    for batch in alone:
        batches.append(batch)
        states.append(alone.state_dict())
    for done in (0, 2, 4):
        loaders = ranks(dataset, world_size, **settings)
        for loader in loaders:
            loader.load_state_dict(states[done])
        for expected, shares in zip(batches[done:], zip(*loaders, strict=True), strict=True):
            for field in ("images", "labels", "samples"):
                together = torch.cat([getattr(share, field) for share in shares])
                assert torch.equal(together, getattr(expected, field)), field


def test_a_state_of_other_repeats_or_from_inside_a_sample_is_refused(dataset: Dataset) -> None:
    state = {**make(dataset, batch_size=24, repeats=3).state_dict(), "position": 24}
    for repeats, other in ((1, "None"), (2, "2")):
        with pytest.raises(FreelightError, match=f"another repeats: 3, not {other}"):
            make(dataset, batch_size=24, repeats=repeats).load_state_dict(state)
    loader = make(dataset, batch_size=24, repeats=3)
    with pytest.raises(FreelightError, match=r"position 25: it is no multiple of `repeats` \(=3\)"):
        loader.load_state_dict({**state, "position": 25})
    with pytest.raises(FreelightError, match=r"another repeats: None, not 3"):
        loader.load_state_dict(make(dataset).state_dict())
    assert "repeats" not in make(dataset).state_dict(), "states without repeats are those of version 0.1"


def test_batches_that_do_not_fit_the_repeats_are_refused(dataset: Dataset) -> None:
    with pytest.raises(FreelightError, match=r"`batch_size` \(=16\) must be a multiple of `repeats` \(=3\): a batch"):
        make(dataset, repeats=3)
    with pytest.raises(FreelightError, match=r"`repeats` \(=0\) must be at least 1"):
        make(dataset, repeats=0)


@pytest.mark.parametrize(("last", "sizes"), [("short", [33] * 5 + [15]), ("drop", [33] * 5), ("even", [33] * 5 + [12])])
def test_a_short_last_batch_has_whole_repeats(last: str, sizes: list[int], dataset: Dataset) -> None:
    """60 samples, eleven in a batch: five are left, of which four make equal shares of six images on two ranks."""
    loaders = ranks(dataset, 2, batch_size=33, repeats=3, last=last)
    found = [images(batches) for batches in zip(*loaders, strict=True)]
    assert [len(batch) for batch in found] == sizes
    assert all(count == 3 for batch in found for count in Counter(sample for sample, _, _ in batch).values())


def test_sub_epochs_of_n_images_have_a_third_of_the_samples_as_deits(dataset: Dataset) -> None:
    loader = make(dataset, batch_size=15, repeats=3, steps_per_epoch=4)
    for epoch in range(3):
        samples = Counter(sample for sample, _, _ in images(loader))
        assert samples == dict.fromkeys(ORDER[20 * epoch : 20 * epoch + 20], 3)


@pytest.mark.usefixtures("read_singly")
def test_each_jpeg_is_read_once_a_batch_and_a_damaged_one_is_left_out_each_time(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = make(dataset, batch_size=60, repeats=3, on_error="skip", max_skipped=2)
    whole = images(loader)
    assert loader.bytes_read == loader.split.samples["length"].sum()
    missing, undecodable = ORDER[3], ORDER[44]
    sound = loader.split.read

    def damaged(sample: int) -> bytes:
        if sample == missing:
            raise FreelightError("it is damaged")
        return sound(sample)[: 2000 if sample == undecodable else None]

    loader = make(dataset, batch_size=60, repeats=3, on_error="skip", max_skipped=2)
    monkeypatch.setattr(loader.split, "read", damaged)
    assert images(loader) == [image for image in whole if image[0] not in (missing, undecodable)]
    assert loader.skipped.keys() == {missing, undecodable}
