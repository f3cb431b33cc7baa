"""A disk that becomes full, or a limit on the size of files: one line that names the place, and nothing is lost."""

import functools
import json
import random
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jobs import Inject, Shell, assert_one_line, files, unchanged
from runs import assert_same_run, metrics, training
from small_disk import SmallDisk

from freelight.train import Checkpoint

ENOUGH = 64 << 20


def no_file_above(size: int) -> Callable[[], None]:
    """Return what a job calls before it starts, so that no file that it writes grows above `size` bytes."""
    return functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))


def make(images: Path, out: Path, workers: int) -> list[object]:
    words = ["freelight", "make-shards", "--images", images, "--out", out, "--workers", workers]
    return [*words, "--size", 96, "--samples-per-shard", 8]


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    Shell(folder / "shell").succeed(*make(images, folder / "out", 1))
    return files(folder / "out")


def test_make_shards_on_a_full_disk(
    images: Path, whole: dict[str, bytes], disk: SmallDisk, shell: Shell, inject: Inject
) -> None:
    """Full eight times, each time later; finished shards stay."""
    out, seen = disk.path / "out", disk.seen / "out"
    rng = random.Random(8)
    for turn in range(8):
        disk.leave(rng.randrange(4096, 160_000))
        with unchanged(seen):
            assert_one_line(shell.run(*make(images, out, 1)), "too little space", disk.path)
        inject(f"disk full while make_shards writes, time {turn}")
    disk.resize(ENOUGH)
    shell.succeed(*make(images, out, 1))
    assert files(seen) == whole
    shell.assert_no_leftover(seen)


@pytest.mark.parametrize("limit", [3000, 9000, 40_000])
def test_make_shards_under_a_limit_of_file_sizes(
    limit: int, images: Path, whole: dict[str, bytes], shell: Shell, inject: Inject, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert_one_line(shell.run(*make(images, out, 1), limit=no_file_above(limit)), out)
    inject(f"no file above {limit} bytes while make_shards writes")
    shell.succeed(*make(images, out, 1))
    assert files(out) == whole
    shell.assert_no_leftover(out)


def test_decode_on_a_disk_that_is_too_small(made: Path, disk: SmallDisk, shell: Shell, inject: Inject) -> None:
    """It says so before it writes pixels; with a limit it writes what fits."""
    disk.resize(400_000)
    words = ["freelight", "decode", "--shards", made, "--decoded", disk.path / "px", "--split", "train"]
    assert_one_line(shell.run(*words), "are missing, but the disk has", "give a smaller --decoded-bytes")
    inject("disk too small for decoded pixels")
    assert (disk.seen / "px" / "train.decoded.pixels").stat().st_size == 0
    shell.succeed(*words, "--decoded-bytes", "200kB")


def test_compute_pca_on_a_full_disk(made: Path, disk: SmallDisk, shell: Shell, inject: Inject) -> None:
    """There is no room for the sums; for the second file of sums; for the statistics."""
    out = disk.path / "own.npz"
    words = ["compute_pca", "--shards", made, "--out", out]
    for free in (4096, 1_700_000, 2_000_000):
        disk.resize(free)
        assert_one_line(shell.run(*words), "too little space", disk.path)
        inject(f"disk of {free} bytes full while compute_pca writes")
        assert not (disk.seen / "own.npz").exists()
    disk.resize(ENOUGH)
    shell.succeed(*words)
    assert (disk.seen / "own.npz").read_bytes() == (made / "statistics.npz").read_bytes()
    shell.assert_no_leftover(disk.seen)


def test_compute_pca_under_a_limit_of_file_sizes(made: Path, shell: Shell, inject: Inject, tmp_path: Path) -> None:
    words = ["compute_pca", "--shards", made, "--out", tmp_path / "own.npz"]
    for limit in (5000, 600_000):
        assert_one_line(shell.run(*words, limit=no_file_above(limit)), tmp_path)
        inject(f"no file above {limit} bytes while compute_pca writes")
    shell.succeed(*words)
    assert (tmp_path / "own.npz").read_bytes() == (made / "statistics.npz").read_bytes()
    shell.assert_no_leftover(tmp_path)


@pytest.mark.parametrize("columns", [1, 2])
def test_train_on_a_full_disk(
    columns: int, made: Path, trained: Callable[[int], Path], disk: SmallDisk, shell: Shell, inject: Inject
) -> None:
    """Full at the first checkpoint, at a later one, and once more; the last good one stays."""
    whole, out, seen = trained(columns), disk.path / "run", disk.seen / "run"
    size = (whole / "last.pt").stat().st_size
    words = training(made, out, columns)
    for sizes in (0.5, 2.5, 2.7):
        disk.resize(int(sizes * size))
        assert_one_line(shell.run(*words), "too little space", out)
        inject(f"disk of {sizes} checkpoints full while train writes")
        assert (seen / "last.pt").exists() == (sizes > 1)
        if sizes > 1:
            assert Checkpoint.load(seen / "last.pt").progress["step"] > 0
    disk.resize(ENOUGH)
    shell.succeed(*words)
    assert_same_run(seen, whole)
    shell.assert_no_leftover(seen)


def test_train_under_a_limit_of_file_sizes(
    made: Path, trained: Callable[[int], Path], shell: Shell, inject: Inject, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for limit in (2000, 1_000_000):  # the metrics; a checkpoint
        assert_one_line(shell.run(*training(made, out), limit=no_file_above(limit)), out)
        inject(f"no file above {limit} bytes while train writes")
    shell.succeed(*training(made, out))
    assert_same_run(out, trained(1))
    shell.assert_no_leftover(out)


def predictions(path: Path) -> dict[str, object]:
    """Return what a predictions file holds, but for the time that the pass took."""
    with np.load(path) as archive:
        return {name: archive[name].tolist() for name in archive if name != "seconds"}


def test_evaluate_on_a_full_disk(
    made: Path, trained: Callable[[int], Path], disk: SmallDisk, shell: Shell, inject: Inject
) -> None:
    """Earlier predictions stay."""
    words = ["evaluate", "--checkpoint", trained(1) / "last.pt", "--shards", made, "--views", 1]
    kept, fresh = disk.seen / "kept.npz", disk.seen / "fresh.npz"
    shell.succeed(*words, "--predictions", disk.path / "kept.npz")
    before = predictions(kept)
    disk.leave(0)
    for name in ("kept", "fresh"):
        assert_one_line(shell.run(*words, "--predictions", disk.path / f"{name}.npz"), "too little space", disk.path)
        inject("disk full while evaluate writes predictions")
    assert predictions(kept) == before
    assert not fresh.exists()
    disk.resize(ENOUGH)
    shell.succeed(*words, "--predictions", disk.path / "fresh.npz")
    assert predictions(fresh) == before
    assert {path.name for path in disk.seen.iterdir()} == {"kept.npz", "fresh.npz"}
    shell.assert_no_leftover(disk.seen)


@pytest.mark.parametrize("limit", [3000, 6000])
def test_evaluate_under_a_limit_of_file_sizes(
    limit: int, made: Path, trained: Callable[[int], Path], shell: Shell, inject: Inject, tmp_path: Path
) -> None:
    words = ["evaluate", "--checkpoint", trained(1) / "last.pt", "--shards", made, "--split", "train", "--views", 1]
    words += ["--predictions", tmp_path / "own.npz"]
    assert_one_line(shell.run(*words, limit=no_file_above(limit)))
    inject(f"no file above {limit} bytes while evaluate writes")
    assert not (tmp_path / "own.npz").exists()
    shell.succeed(*words)
    shell.assert_no_leftover(tmp_path)


def test_find_similar_on_a_full_disk_or_under_a_limit(
    made: Path, trained: Callable[[int], Path], disk: SmallDisk, shell: Shell, inject: Inject, tmp_path: Path
) -> None:
    words = ["find_similar", "--checkpoint", trained(1) / "last.pt", "--shards", made, "--features"]
    whole = shell.succeed(*words, tmp_path / "whole").stdout
    for free in (0, 40_000, 170_000):  # no row, some rows, no queries
        disk.leave(max(4096, free))
        assert_one_line(shell.run(*words, disk.path / "features"), "too little space", disk.path)
        inject(f"disk of {free} bytes full while find_similar writes features")
    assert_one_line(shell.run(*words, tmp_path / "limited", limit=no_file_above(20_000)), tmp_path / "limited")
    inject("no file above 20,000 bytes while find_similar writes features")
    disk.resize(ENOUGH)
    for folder in (disk.path / "features", tmp_path / "limited"):
        assert shell.succeed(*words, folder).stdout == whole
    shell.assert_no_leftover(disk.seen, tmp_path / "limited")


@pytest.mark.parametrize("kind", ["disk", "limit"])
def test_the_cache_of_a_remote_dataset_on_a_full_disk(
    kind: str, made: Path, trained: Callable[[int], Path], disk: SmallDisk, shell: Shell, inject: Inject, tmp_path: Path
) -> None:
    """The manifest fits, a shard does not."""
    whole = trained(1)
    cache = disk.path / "cache" if kind == "disk" else tmp_path / "cache"
    words = ["evaluate", "--checkpoint", whole / "last.pt", "--shards", f"file://{made}", "--cache", cache, "--json"]
    disk.resize(900_000)
    ended = shell.run(*words, limit=no_file_above(60_000) if kind == "limit" else None)
    assert "server" not in assert_one_line(ended, cache)
    inject(f"{kind} full while shards are cached")
    disk.resize(ENOUGH)
    near, far = (
        json.loads(shell.succeed(*words).stdout) for words in ([*words[:3], "--shards", made, "--json"], words)
    )
    assert near["networks"][0]["top1"] == far["networks"][0]["top1"]
    shell.assert_no_leftover(disk.seen, tmp_path / "cache")
    assert metrics(whole)
