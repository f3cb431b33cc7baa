"""Any workers, order, stops and kills give the same bits, in the right file."""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pytest

from freelight.shards import Dataset, FreelightError, RGBMoments, Statistics, compute_statistics, write_statistics

TOOL = Path(__file__).parents[2] / "tools" / "compute_pca"
RECORD = ".statistics.npz.partial"


@pytest.fixture
def bare(dataset_copy: Dataset) -> Dataset:
    """A dataset without statistics."""
    for name in ("statistics.npz", "statistics.json"):
        (dataset_copy.folder / name).unlink()
    return dataset_copy


def saved(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*statistics*")) if path.suffix != ".lock"}


def stop_after(shards: int) -> Callable[[Iterable[RGBMoments], int], Iterator[RGBMoments]]:
    """Watch until `shards` parts have arrived, then fail."""

    def watch(parts: Iterable[RGBMoments], total: int) -> Iterator[RGBMoments]:
        for number, part in enumerate(parts, 1):
            yield part
            if number == shards:
                raise KeyboardInterrupt

    return watch


# The same bits.


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_files(workers: int, dataset: Dataset, bare: Dataset) -> None:
    write_statistics(bare, workers=workers)
    assert saved(bare.folder) == saved(dataset.folder)


def test_shards_in_reversed_order_give_the_same_files(
    dataset: Dataset, bare: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def backwards(function: Callable[[int], Any], tasks: list[int], *, workers: int, cluster: None) -> Iterator[Any]:
        for task in reversed(tasks):
            seen.append(task)
            yield function(task)

    monkeypatch.setattr("freelight.shards.statistics.computing.run_tasks", backwards)
    write_statistics(bare)
    assert seen == [3, 2, 1, 0]
    assert saved(bare.folder) == saved(dataset.folder)


@pytest.mark.parametrize("shards", [1, 3, 4])
def test_a_stopped_job_goes_on_where_it_was_and_gives_the_same_files(
    shards: int, dataset: Dataset, bare: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_statistics(bare, watch=stop_after(shards))
    assert list(saved(bare.folder)) == [RECORD]
    done: list[int] = []
    counts: list[int] = []

    def watch(parts: Iterable[RGBMoments], total: int) -> Iterator[RGBMoments]:
        for part in parts:
            counts.append(part.n_images_)
            yield part

    monkeypatch.setattr(
        "freelight.shards.statistics.computing.run_tasks",
        lambda function, tasks, *, workers, cluster: map(function, done.extend(tasks) or tasks),
    )
    write_statistics(bare, watch=watch)
    assert done == list(range(shards, 4)), "a finished shard was read again"
    assert sum(counts) == 60, "the progress bar must end at its length"
    assert counts[0] == sum(info.samples for info in bare.split("train").info.shards[:shards])
    assert saved(bare.folder) == saved(dataset.folder)


def test_the_record_of_another_dataset_or_split_is_not_gone_on_with(dataset: Dataset, bare: Dataset) -> None:
    """The dataset was made again in the same place."""
    record = bare.folder / RECORD
    with pytest.raises(KeyboardInterrupt):
        compute_statistics(bare, "val", record=record, watch=stop_after(1))
    write_statistics(bare)
    assert saved(bare.folder) == saved(dataset.folder)
    with pytest.raises(KeyboardInterrupt):
        compute_statistics(bare, record=record, watch=stop_after(2))
    with np.load(record) as archive:
        content = {**archive, "fingerprint": "0" * 64, "n_images_": 10**6}
    with record.open("wb") as file:
        np.savez(file, **content)
    (bare.folder / "statistics.npz").unlink()
    assert write_statistics(bare).images == 60


def test_a_damaged_record_is_an_error_with_the_remedy(bare: Dataset) -> None:
    (bare.folder / RECORD).write_bytes(b"PK\3\4 and no more")
    with pytest.raises(FreelightError, match=r"statistics\.npz\.partial cannot be read .*; delete it to start again"):
        write_statistics(bare)


def test_the_record_does_not_grow_with_the_shards(bare: Dataset) -> None:
    sizes = []

    def watch(parts: Iterable[RGBMoments], total: int) -> Iterator[RGBMoments]:
        for part in parts:
            sizes.append((bare.folder / RECORD).stat().st_size)
            yield part

    write_statistics(bare, watch=watch)
    assert len(set(sizes)) == 1
    assert sizes[0] < 1.6e6


def shards_done(folder: Path) -> int:
    try:
        with np.load(folder / RECORD) as archive:
            return int(archive["shards"].sum())
    except (FileNotFoundError, BadZipFile):
        return 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_one_moment_after_another_it_ends_with_the_same_files(
    workers: int, dataset: Dataset, bare: Dataset
) -> None:
    start = [sys.executable, str(TOOL), "--shards", str(bare.folder), "--workers", str(workers)]
    moments: list[Callable[[], bool]] = [
        *(functools.partial(lambda count: shards_done(bare.folder) >= count, count) for count in (1, 2, 4)),
        (bare.folder / "statistics.npz").exists,
    ]
    for moment in moments:
        job = subprocess.Popen(start, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not moment() and job.poll() is None:
            time.sleep(0.0005)
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    subprocess.run(start, check=True, capture_output=True)
    assert saved(bare.folder) == saved(dataset.folder)


# The right file.


def test_a_second_run_at_once_is_refused_and_disturbs_nothing(dataset: Dataset, bare: Dataset) -> None:
    refused: list[str] = []

    def watch(parts: Iterable[RGBMoments], total: int) -> Iterator[RGBMoments]:
        for part in parts:
            with pytest.raises(FreelightError) as caught:
                write_statistics(bare)
            refused.append(str(caught.value))
            yield part

    assert np.array_equal(write_statistics(bare, watch=watch).mean_image, Statistics.load(dataset.folder).mean_image)
    path = bare.folder / "statistics.npz"
    assert set(refused) == {f"another run is computing {path}; wait for it: the same command then reads its result"}
    assert not list(bare.folder.glob(".statistics*")), "neither the lock nor the record is left"


def test_finished_statistics_are_read_not_computed_again(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freelight.shards.statistics.computing.compute_statistics", None)
    assert write_statistics(dataset).images == 60


def test_damaged_or_foreign_statistics_of_a_dataset_are_made_again(dataset: Dataset, dataset_copy: Dataset) -> None:
    path = dataset_copy.folder / "statistics.npz"
    os.truncate(path, 1000)
    write_statistics(dataset_copy)
    assert saved(dataset_copy.folder) == saved(dataset.folder)
    compute_statistics(dataset_copy, "val").save(path)
    write_statistics(dataset_copy)
    assert saved(dataset_copy.folder) == saved(dataset.folder)


def test_another_split_goes_to_a_file_that_is_named(dataset: Dataset, tmp_path: Path) -> None:
    before = saved(dataset.folder)
    with pytest.raises(FreelightError, match=r"is for the split train, not val; give another file: `out` val\.npz"):
        write_statistics(dataset, "val")
    found = write_statistics(dataset, "val", out=tmp_path / "val.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["val.json", "val.npz"]
    assert (found.split, found.images) == ("val", 20)
    assert Statistics.load(tmp_path / "val.npz").mean.tolist() == found.mean.tolist()
    assert saved(dataset.folder) == before


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("val.json", r"`out` .*val\.json must end in \.npz"),
        ("none/val.npz", r"`out` .*: there is no folder .*none; make it first"),
        ("here/statistics.npz", "is the default output; omit `out`, or name another"),
        ("train.npz", "exists, and does not belong to val of .*; name another"),
        ("photos.npz", "exists, and does not belong to val of .*; name another"),
    ],
)
def test_a_file_that_must_not_be_written_is_not(out: str, message: str, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(dataset.folder)
    write_statistics(dataset, out=tmp_path / "train.npz")
    (tmp_path / "photos.npz").write_bytes(b"somebody's work")
    before = saved(dataset.folder)
    with pytest.raises(FreelightError, match=message):
        write_statistics(dataset, "val", out=tmp_path / out)
    assert saved(dataset.folder) == before
    assert (tmp_path / "photos.npz").read_bytes() == b"somebody's work"


def test_a_rotten_sample_stops_the_statistics(bare: Dataset) -> None:
    """Otherwise it would change the mean silently, because a JPEG with a flipped byte still decodes."""
    row = bare.split("train").samples[-1]
    with (bare.folder / "train-000003.tar").open("r+b") as file:
        file.seek(int(row["offset"]) + int(row["length"]) // 2)
        file.write(b"\0\0")
    with pytest.raises(FreelightError, match=r"train-000003\.tar: sample .* is changed"):
        write_statistics(bare)
    assert not (bare.folder / "statistics.npz").exists()


def test_a_link_in_the_place_of_the_lock_makes_no_file_elsewhere(bare: Dataset, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (bare.folder / ".statistics.npz.lock").symlink_to(outside)
    words = [sys.executable, "-m", "freelight", "compute-pca", "--shards", str(bare.folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    (bare.folder / ".statistics.npz.lock").unlink()
    assert done.returncode == 2
    assert done.stderr.endswith(
        "/.statistics.npz.lock is a symbolic link, or leads through a loop of them; remove it\n"
    )
    assert not outside.exists()
