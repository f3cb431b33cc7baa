"""The loader hands out every sample exactly once an epoch, on any number of ranks, wherever it was stopped."""

import dataclasses
import gc
import json
import signal
import subprocess
import sys
import threading
import time
import weakref
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from freelight.pipeline import (
    Batch,
    CenterCrop,
    Lighting,
    Loader,
    RandomCrop,
    RandomResizedCrop,
    TenCrop,
    Transform,
    draw_epoch,
)
from freelight.pipeline.crops import Crop
from freelight.pipeline.reading import UndecodableError
from freelight.shards import Dataset, FreelightError, Split, Statistics

# Small crops are quick to decode; what they hold still tells pictures, offsets and flips apart.
SMALL = Transform(crop=RandomCrop(size=96), mean="none", lighting=Lighting(mode="off"), dtype="uint8")


def make(dataset: Dataset, split: str = "train", *, batch_size: int = 16, **settings: Any) -> Loader:
    return Loader(dataset, split, batch_size=batch_size, **{"transform": SMALL, **settings})


class Seen(dict[int, tuple[int, int]]):
    """What batches held: label and checksum of the pixels, by sample. A sample that comes twice is a failure."""

    def __init__(self, batches: Iterable[Batch] = ()) -> None:
        super().__init__()
        self.add_all(batches)

    def add_all(self, batches: Iterable[Batch]) -> "Seen":
        for batch in batches:
            self.add(batch)
        return self

    def add(self, batch: Batch) -> None:
        for image, label, sample in zip(batch.images, batch.labels, batch.samples.tolist(), strict=True):
            assert sample not in self, f"sample {sample} came twice"
            self[sample] = (int(label), zlib.crc32(image.numpy()))


@pytest.fixture(scope="module")
def whole(dataset: Dataset) -> Seen:
    """Epoch 0 of train, of seed 0: what every other way to load it must come to."""
    return Seen(make(dataset))


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("freelight-read")]


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Any:
    """Hold every test of this file to it. (One that Ctrl-C caught while it was started is told to end, not awaited.)"""
    yield
    gc.collect()  # loaders that a caught error's traceback refers to
    deadline = time.monotonic() + 2
    while readers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert readers() == []


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


def test_set_epoch_starts_that_epoch_and_leaves_one_that_was_begun(dataset: Dataset) -> None:
    loader = make(dataset)
    loader.set_epoch(4)
    first = Seen(loader)
    assert list(first) == draw_epoch(60, seed=0, epoch=4).order.tolist()
    loader.set_epoch(4)
    assert Seen(loader) == first, "the same epoch again is the same pixels again"
    loader.set_epoch(2)
    assert loader.position == 0
    begun = Seen([next(iter(loader))])
    loader.set_epoch(2)
    rest = Seen(loader)
    assert [*begun, *rest] == draw_epoch(60, seed=0, epoch=2).order.tolist()


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_breaking_off_and_iterating_again_goes_on_after_the_last_batch(
    taken: int, dataset: Dataset, whole: Seen
) -> None:
    """Batches that were read or decoded ahead, and not handed out, are not lost."""
    loader = make(dataset)
    seen = Seen()
    for count, batch in enumerate(loader, 1):
        seen.add(batch)
        if count == taken:
            break
    assert readers() == []
    assert loader.position == 16 * taken
    assert seen.add_all(loader) == whole
    assert loader.position == 60


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 16), (3, 5), (2, 60), (1, 7)])
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_a_state_goes_on_with_exactly_the_samples_not_yet_seen(
    steps: int, world_size: int, batch_size: int, dataset: Dataset, whole: Seen
) -> None:
    """Stopped on two ranks with batches of 8, in epoch 0; taken up on others, through JSON, with the same pixels."""
    seen = Seen()
    states = []
    for rank in range(2):
        loader = make(dataset, batch_size=8, rank=rank, world_size=2)
        for _, batch in zip(range(steps), loader, strict=False):
            seen.add(batch)
        states.append(loader.state_dict())
    assert states[0] == states[1]
    assert states[0]["position"] == 8 * steps
    for rank in range(world_size):
        loader = make(dataset, batch_size=batch_size, rank=rank, world_size=world_size)
        loader.load_state_dict(json.loads(json.dumps(states[0])))
        assert loader.state_dict() == states[0]
        for batch in loader:
            seen.add(batch)
    assert seen == whole


def test_a_state_of_a_later_epoch_and_of_an_epochs_end(dataset: Dataset) -> None:
    loader = make(dataset)
    loader.set_epoch(3)
    first = next(iter(loader))
    middle = loader.state_dict()
    rest = Seen(loader)
    end = loader.state_dict()

    other = make(dataset)
    other.load_state_dict(middle)
    assert other.epoch == 3
    assert Seen(other) == rest
    assert not set(first.samples.tolist()) & set(rest)
    other = make(dataset)
    other.load_state_dict(end)
    assert list(Seen(other)) == draw_epoch(60, seed=0, epoch=4).order.tolist()


CENTER = dataclasses.replace(SMALL, crop=CenterCrop(size=96))


def test_the_transform_changes_between_epochs_and_resumes_bit_equal_on_either_side(dataset: Dataset) -> None:
    """Killed in the last epoch before the change, at the boundary itself, or after it."""

    def run(loader: Loader, *, stop: int = 9) -> tuple[list[tuple[int, Seen]], dict[str, Any]]:
        """Take up to `stop` steps, of four an epoch, with CENTER from epoch 1 on."""
        seen: list[tuple[int, Seen]] = []
        while len(seen) < stop:
            if loader.epoch == 0 and loader.position == 60:
                loader.set_epoch(1)
                loader.transform = CENTER
            for batch in loader:
                seen.append((loader.epoch, Seen([batch])))
                if len(seen) == stop:
                    break
        return seen, json.loads(json.dumps(loader.state_dict()))

    whole, _ = run(make(dataset))
    assert [epoch for epoch, _ in whole] == [0] * 4 + [1] * 4 + [2]
    views = dict(Seen(make(dataset, transform=CENTER)))
    for epoch, seen in whole:
        assert (epoch > 0) == (seen.items() <= views.items())
    for stop in (3, 4, 5, 8):
        before, state = run(make(dataset), stop=stop)
        other = make(dataset, transform=SMALL if stop <= 4 else CENTER)
        other.load_state_dict(state)
        assert before + run(other, stop=9 - stop)[0] == whole


def test_inside_an_epoch_the_transform_stays(dataset: Dataset, whole: Seen) -> None:
    loader = make(dataset)
    seen = Seen([next(iter(loader))])
    with pytest.raises(FreelightError, match="may change at an epoch's boundary, not inside an epoch"):
        loader.transform = CENTER
    assert loader.transform == SMALL
    state = loader.state_dict()
    with pytest.raises(FreelightError, match=r"of another transform: .*RandomCrop.*, here .*CenterCrop"):
        make(dataset, transform=CENTER).load_state_dict(state)
    assert seen.add_all(loader) == whole
    make(dataset, transform=CENTER).load_state_dict(loader.state_dict())


def test_a_transform_that_cannot_work_leaves_the_loader_as_it_was(dataset: Dataset, whole: Seen) -> None:
    loader = make(dataset)
    with pytest.raises(FreelightError, match="pass the dataset's statistics"):
        loader.transform = Transform()
    assert loader.transform == SMALL
    assert Seen(loader) == whole


@pytest.mark.parametrize(("batch_size", "steps"), [(16, 3), (20, 3), (59, 1), (60, 1)])
def test_a_short_last_batch_can_be_dropped(batch_size: int, steps: int, dataset: Dataset, whole: Seen) -> None:
    loaders = [make(dataset, batch_size=batch_size, drop_last=True, rank=rank, world_size=2) for rank in range(2)]
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


def test_where_short_batches_are_dropped_a_state_goes_on_with_whole_ones_of_another_size(dataset: Dataset) -> None:
    loader = make(dataset, batch_size=8, drop_last=True)
    next(iter(loader))
    other = make(dataset, batch_size=16, drop_last=True)
    other.load_state_dict(loader.state_dict())
    assert [len(batch.samples) for batch in other] == [16, 16, 16]
    assert other.position == 56
    assert [len(batch.samples) for batch in other] == [16, 16, 16], "the next epoch"
    assert other.epoch == 1


@pytest.mark.parametrize(
    ("split", "changes", "reason"),
    [
        ("val", {}, "another split: 'train', here 'val'"),
        ("train", {"seed": 1}, "another seed: 0, here 1"),
        ("train", {"order": "sequential"}, "another order: 'global', here 'sequential'"),
    ],
)
def test_a_state_of_something_else_is_refused(
    split: str, changes: dict[str, Any], reason: str, dataset: Dataset
) -> None:
    state = make(dataset).state_dict()
    loader = make(dataset, split, **changes)
    before = loader.state_dict()
    with pytest.raises(FreelightError, match=reason):
        loader.load_state_dict({**state, "epoch": 5, "position": 16})
    assert loader.state_dict() == before, "a refused state leaves its mark"


def test_a_state_of_another_dataset_is_refused(dataset: Dataset, dataset_copy: Dataset) -> None:
    """A copy of the folder is the same dataset; one with another shard is not."""
    state = make(dataset).state_dict()
    make(dataset_copy).load_state_dict(state)
    path = dataset_copy.folder / "dataset.json"
    path.write_text(path.read_text().replace(dataset.manifest.splits["val"].shards[1].sha256, "0" * 64))
    with pytest.raises(FreelightError, match="another fingerprint"):
        make(Dataset(dataset_copy.folder)).load_state_dict(state)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_batch_stays_as_it_was_when_later_ones_come(dtype: str, dataset: Dataset) -> None:
    """Batches are DALI's own memory, without a copy: it must not be filled again while anyone holds it."""
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


def flip_byte(dataset: Dataset, split: Split, index: int) -> None:
    """Change one byte in the middle of a sample's JPEG; again: change it back."""
    row = split.samples[index]
    with open(dataset.folder / split.info.shards[int(row["shard"])].name, "r+b") as file:
        file.seek(int(row["offset"]) + int(row["length"]) // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def test_a_flipped_byte_is_an_error_that_names_the_sample(dataset_copy: Dataset, whole: Seen) -> None:
    """Shard, key and source. Once the byte is put right, the same loader goes on and no sample is lost."""
    loader = make(dataset_copy, batch_size=4)
    bad = int(draw_epoch(60, seed=0, epoch=0).order[41])
    flip_byte(dataset_copy, loader.split, bad)
    seen = Seen()
    for _ in range(2):  # not only once
        with pytest.raises(FreelightError) as caught:
            seen.add_all(loader)
        shard = loader.split.info.shards[int(loader.split.samples["shard"][bad])].name
        for part in (shard, loader.split.key(bad), loader.split.sources[bad], "crc32"):
            assert part in str(caught.value)
        assert readers() == []
        assert loader.position == len(seen) <= 40
    flip_byte(dataset_copy, loader.split, bad)
    assert seen.add_all(loader) == whole


def test_a_shard_cut_short_or_missing_is_an_error(dataset_copy: Dataset) -> None:
    path = dataset_copy.folder / "train-000001.tar"
    whole = path.read_bytes()
    loader = make(dataset_copy)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FreelightError, match=r"train-000001\.tar: sample \d{8} \(from .*\) is cut short"):
        list(loader)
    path.unlink()
    with pytest.raises(FreelightError, match=r"train-000001\.tar is missing"):
        list(loader)
    path.write_bytes(whole)
    assert sum(len(batch.samples) for batch in loader) == 60 - loader.position or loader.position == 60


def test_a_picture_that_dali_cannot_decode_does_not_end_the_loader(
    dataset: Dataset, whole: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DALI's pipeline is of no use after an error inside it; the loader takes another, and the batch is due again."""
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
    assert seen.add_all(loader) == whole


def half(jpeg: bytes) -> bytes:
    """Cut a JPEG where its header is whole: cut inside it, DALI's decoder sometimes kills the process."""
    return jpeg[: len(jpeg) // 2]


@pytest.mark.parametrize("batch_size", [1, 4, 60])
@pytest.mark.parametrize("prefetch", [0, 3])
def test_pictures_that_dali_cannot_decode_are_skipped_within_the_budget(
    prefetch: int, batch_size: int, dataset: Dataset, whole: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them, neighbours in the order. In the next epoch they are not even tried."""
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
    with pytest.raises(FreelightError, match=r"more than max_skipped \(=2\) samples are damaged; the latest: .*crc32"):
        seen.add_all(loader)
    assert 20 <= len(seen) < 40


def test_an_io_error_names_the_sample(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a failing disk gives it."""

    def fails(*arguments: Any) -> bytes:
        raise OSError(5, "Input/output error")

    loader = make(dataset)
    monkeypatch.setattr("os.pread", fails)
    with pytest.raises(
        FreelightError, match=r"train-.*: sample \d{8} \(from .*\) cannot be read \(Input/output error\)"
    ):
        list(loader)


def test_storage_hears_of_each_sample_once_before_it_is_read(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the first batches, which are read at once."""
    told: list[int] = []
    ahead: list[int] = []
    announce, read = Split.announce, Split.read

    def noted(self: Split, samples: Any) -> None:
        told.extend(samples.tolist())
        announce(self, samples)

    def compared(self: Split, sample: int) -> bytes:
        ahead.append(told.index(sample) - len(ahead) if sample in told else -1)
        return read(self, sample)

    monkeypatch.setattr(Split, "announce", noted)
    monkeypatch.setattr(Split, "read", compared)
    order = np.concatenate([batch.samples for batch in make(dataset, batch_size=4, prefetch=1)])
    assert told == order[12:].tolist()
    assert ahead[:12] == [-1] * 12
    assert -1 not in ahead[12:]


def main_thread_waits_in(function: str) -> bool:
    """Tell whether the main thread waits for another, somewhere below `function`."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    names = [frame.f_code.co_name]
    while frame.f_back:
        frame = frame.f_back
        names.append(frame.f_code.co_name)
    return names[0] == "wait" and function in names


@pytest.mark.parametrize("read", [0, 10, 35])
def test_control_c_loses_nothing(read: int, dataset: Dataset, whole: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first batch, and in a wait inside DALI's callback; the iteration can be taken up after it."""
    loader = make(dataset, batch_size=4)
    sound = loader.split.read
    count = 0

    def interrupted(index: int) -> bytes:
        nonlocal count
        count += 1
        if count == read + 1:
            deadline = time.monotonic() + 5
            while read and not main_thread_waits_in("take") and time.monotonic() < deadline:
                time.sleep(0.001)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.05)
        return sound(index)

    monkeypatch.setattr(loader.split, "read", interrupted)
    seen = Seen()
    with pytest.raises(KeyboardInterrupt):
        seen.add_all(loader)
    assert loader.position == len(seen) < 60
    assert seen.add_all(loader) == whole


def test_a_second_control_c_while_a_slow_read_is_awaited_loses_nothing(
    dataset: Dataset, whole: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = make(dataset, batch_size=4)
    iteration = iter(loader)
    seen = Seen([next(iteration)])

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "shutdown", interrupted)
        with pytest.raises(KeyboardInterrupt):
            iteration.close()  # type: ignore[attr-defined]
    assert seen.add_all(loader) == whole


def test_only_the_latest_of_two_iterations_goes_on(dataset: Dataset, whole: Seen) -> None:
    """Their batches would be each other's. The later goes on after what the earlier handed out."""
    loader = make(dataset)
    earlier, later = iter(loader), iter(loader)
    seen = Seen([next(earlier), next(later)])
    with pytest.raises(FreelightError, match="another was begun"):
        next(earlier)
    assert seen.add_all(later) == whole


@pytest.mark.parametrize("move", ["set_epoch", "load_state_dict"])
def test_an_iteration_does_not_go_on_in_an_epoch_it_was_not_made_for(move: str, dataset: Dataset) -> None:
    loader = make(dataset)
    iteration = iter(loader)
    next(iteration)
    state = loader.state_dict()
    loader.set_epoch(1) if move == "set_epoch" else loader.load_state_dict({**state, "position": 32})
    with pytest.raises(FreelightError, match="the loader was moved"):
        next(iteration)
    assert loader.position == (0 if move == "set_epoch" else 32)
    assert sum(len(batch.samples) for batch in loader) == (60 if move == "set_epoch" else 28)


def test_a_new_iteration_ends_one_that_a_traceback_keeps_alive(dataset: Dataset, whole: Seen) -> None:
    """As in a notebook, after an error in the loop's body."""
    loader = make(dataset)
    seen = Seen()

    def train() -> None:
        iteration = iter(loader)
        seen.add(next(iteration))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        train()
    assert len(readers()) == 1
    assert seen.add_all(loader) == whole
    assert len(readers()) == 1, "the earlier iteration's thread is still there"
    assert caught.tb is not None


@pytest.mark.parametrize("prefetch", [0, 2])
def test_only_a_few_batches_are_read_ahead(prefetch: int, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory holds those, not an epoch: as many as DALI decodes ahead, and as many again with two to spare."""
    reads = 0
    read = Split.read

    def counted(self: Split, index: int) -> bytes:
        nonlocal reads
        reads += 1
        return read(self, index)

    monkeypatch.setattr(Split, "read", counted)
    for taken, _ in enumerate(make(dataset, batch_size=2, prefetch=prefetch), 1):
        if taken <= 10:
            time.sleep(0.02)  # for the thread to read what it may
            ahead = reads // 2 - taken
            assert ahead <= 2 * prefetch + 2
            assert ahead >= prefetch, "nothing is read ahead"
    assert reads == 60


def test_the_wait_for_batches_is_counted(dataset: Dataset) -> None:
    """Time the consumer spends itself is not waiting."""
    loader = make(dataset)
    start = time.perf_counter()
    for _ in loader:
        time.sleep(0.05)
    assert 0 < loader.wait_seconds <= time.perf_counter() - start - 4 * 0.05


@pytest.mark.slow
def test_a_program_may_end_inside_an_iteration(dataset: Dataset) -> None:
    """No hang, no traceback, whatever order the interpreter clears things in."""
    program = """
import sys
from freelight.pipeline import Lighting, Loader, Transform
from freelight.shards import Dataset
plain = Transform(mean="none", lighting=Lighting(mode="off"), dtype="uint8")
iteration = iter(Loader(Dataset(sys.argv[1]), "train", batch_size=4, transform=plain))
next(iteration)
"""
    command = [sys.executable, "-W", "error", "-c", program, str(dataset.folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, r"batch_size \(=0\) must be at least 1"),
        ({"rank": 2, "world_size": 2}, r"rank \(=2\) must lie in 0..world_size-1 \(world_size=2\)"),
        ({"rank": -1}, r"rank \(=-1\) must lie in"),
        ({"world_size": 0}, r"world_size=0"),
        ({"num_threads": 0}, r"num_threads \(=0\) must be at least 1"),
        ({"prefetch": -1}, r"prefetch \(=-1\) must not be negative"),
        ({"order": "random"}, "order 'random' is not one of global, sequential"),
        ({"layout": "HWC"}, "layout 'HWC' is not one of NCHW, NHWC"),
        ({"device": "meta"}, "device 'meta' is neither the CPU nor a CUDA device"),
        (
            {"transform": Transform(crop=RandomCrop(size=257), mean="none", lighting=Lighting(mode="off"))},
            "a crop of 257 pixels does not",
        ),
        ({"transform": Transform()}, "pass the dataset's statistics"),
        (
            {"batch_size": 61, "drop_last": True},
            "train has 60 samples, fewer than a batch of 61: take smaller batches, or drop_last=False",
        ),
        ({"on_error": "ignore"}, "on_error 'ignore' is not one of raise, skip"),
        ({"max_skipped": -1}, r"max_skipped \(=-1\) must not be negative"),
    ],
)
def test_what_cannot_work_is_refused_when_the_loader_is_made(
    settings: dict[str, Any], message: str, dataset: Dataset
) -> None:
    with pytest.raises(FreelightError, match=message):
        make(dataset, **settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the device exists")
def test_a_gpu_that_is_not_there_is_named(dataset: Dataset) -> None:
    with pytest.raises(FreelightError, match="device 'cuda:1' is neither the CPU nor a CUDA device that torch finds"):
        make(dataset, device="cuda:1")


def test_an_unknown_split_and_a_foreign_mean_image_are_explained(dataset: Dataset, statistics: Statistics) -> None:
    with pytest.raises(FreelightError, match="has no split 'test'; it has: train, val"):
        make(dataset, "test")
    foreign = Statistics(**{**vars(statistics), "mean_image": statistics.mean_image[:128, :128]})
    with pytest.raises(FreelightError, match="mean image has side 128, the dataset's images 256"):
        make(dataset, transform=Transform(), statistics=foreign)


def test_a_dropped_loader_gives_its_memory_back_at_once(dataset: Dataset) -> None:
    """Nothing in it refers back to it: batches decoded ahead must not wait for the garbage collector."""
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
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_on_a_gpu_stay_as_they_were(dataset: Dataset) -> None:
    """On the current stream, whichever it is, without a copy, and while the stream is behind the host."""
    stream = torch.cuda.Stream()
    loader = make(dataset, batch_size=4, device="cuda")
    held, sums = [], []
    with torch.cuda.stream(stream):
        for _ in range(2):
            for batch in loader:
                torch.cuda._sleep(10_000_000)
                held.append(batch.images)
                sums.append(batch.images.sum(dtype=torch.int64))
                batch.images.clone()
    torch.cuda.synchronize()
    assert [int(images.sum(dtype=torch.int64)) for images in held] == [int(total) for total in sums]
    assert len({images.data_ptr() for images in held}) == len(held)
