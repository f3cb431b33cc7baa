"""What `train` refuses, in a line with the way out: another run's folder, data, processes."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from run_files import files

from freelight.shards import Dataset, Statistics
from freelight.train import Checkpoint


@pytest.mark.parametrize(
    ("setting", "difference"),
    [
        ("--set learning_rate=0.02", "learning_rate: 0.001 then, 0.02 now; bias_learning_rate: 0.001 then, 0.02 now"),
        ("--set batch_size=8", "batch_size: 16 then, 8 now"),
        ("--epochs 1", "epochs: 2 then, 1 now, though they may only be raised"),
        ("--width 0.06", "width: 0.05 then, 0.06 now"),
        ("--set dropout=0.4 --seed 1", "dropout: 0.5 then, 0.4 now; seed: 0 then, 1 now"),
    ],
)
def test_other_settings_on_the_same_out_are_an_error_naming_them(
    setting: str, difference: str, train: Any, run: Path
) -> None:
    before = files(run)
    result = train.here(run, setting)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: {run} holds a run with other settings ({difference}); use the earlier ones, or another --out\n"
    )
    assert files(run) == before


def test_statistics_of_another_file_are_taken_only_if_named(
    train: Any, dataset: Dataset, tmp_path: Path, run: Path
) -> None:
    """They stay with the run: its checkpoint holds them, and it does not resume with others."""
    theirs = Statistics.load(dataset.folder)
    theirs.mean_image[:] = 100
    theirs.save(tmp_path / "theirs.npz")
    result = train.here(tmp_path / "run", f"--epochs 1 --statistics {tmp_path / 'theirs.npz'}")
    assert result.exit_code == 0, result.output
    assert (Checkpoint.load(tmp_path / "run" / "last.pt").statistics.mean_image == 100).all()
    assert (Checkpoint.load(run / "last.pt").statistics.mean_image != 100).any()
    assert train.here(tmp_path / "run", "--epochs 1").exit_code == 2
    missing = train.here(tmp_path / "other", f"--statistics {tmp_path / 'none.npz'}")
    assert (missing.exit_code, missing.stderr.startswith(f"error: {tmp_path / 'none.npz'} is missing")) == (2, True)


def test_other_data_or_statistics_on_the_same_out_are_an_error(train_on: Any, run: Path, dataset_copy: Dataset) -> None:
    folder = dataset_copy.folder
    statistics = Statistics.load(folder)
    statistics.mean_image[0, 0, 0] += 1
    statistics.save(folder)
    result = train_on(dataset_copy).here(run)
    assert result.exit_code == 2
    assert f"with other statistics than {folder} has now; restore the earlier file, or " in result.stderr
    manifest = folder / "dataset.json"
    digest = dataset_copy.manifest.splits["train"].shards[0].sha256
    manifest.write_text(manifest.read_text().replace(digest, digest[::-1]))
    dataclasses.replace(statistics, fingerprint=Dataset(folder).fingerprint).save(folder)
    result = train_on(dataset_copy).here(run)
    assert result.exit_code == 2
    assert f"dataset: '{dataset_copy.fingerprint[:12]}' then, '{Dataset(folder).fingerprint[:12]}' now" in result.stderr


def test_missing_statistics_are_an_error_with_the_remedy(train_on: Any, dataset_copy: Dataset, tmp_path: Path) -> None:
    folder = dataset_copy.folder
    (folder / "statistics.npz").unlink()
    result = train_on(dataset_copy).here(tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    remedy = f"freelight compute-pca --shards {folder}"
    assert result.stderr == f"error: {folder}/statistics.npz is missing; make it with: {remedy}\n"


@pytest.mark.slow
def test_an_error_of_two_ranks_is_said_once(train_on: Any, dataset_copy: Dataset, tmp_path: Path) -> None:
    folder = dataset_copy.folder
    (folder / "statistics.npz").unlink()
    result = train_on(dataset_copy).typed(tmp_path / "out", "--columns 2")
    said = [line for line in result.stderr.splitlines() if "Terminating process" not in line]  # torch's remark
    assert (result.returncode, result.stdout) == (2, "")
    assert said == [f"error: {folder}/statistics.npz is missing; make it with: freelight compute-pca --shards {folder}"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--seed -1", "--seed (=-1) must lie in 0..2**32 - 1"),
        ("--checkpoint-every 0", "--checkpoint-every (=0) must be at least 1"),
        ("--log-every 0", "--log-every (=0) must be at least 1"),
        ("--threads 0", "--threads (=0) must be at least 1"),
        ("--epochs 0", "--epochs (=0) must be at least 1"),
        ("--width 0", "--width (=0.0) must be positive"),
        ("--set dropout=1.5", "`dropout` (=1.5) must be at least 0 and less than 1"),
        ("--set bach_size=4", "--set 'bach_size=4': there is no setting bach_size; did you mean batch_size?"),
        ("--columns 3", "3 is not in the range 1<=x<=2"),
        ("--recipe sauce", "--recipe (=sauce) is neither a recipe nor a file that ends in .toml; did you mean source?"),
    ],
)
def test_what_it_cannot_do_is_a_line_and_exit_code_2(words: str, message: str, train: Any, tmp_path: Path) -> None:
    result = train.here(tmp_path, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr.splitlines()[-1]
    assert {path.name for path in tmp_path.iterdir()} <= {"lock"}


@pytest.mark.skipif(torch.cuda.device_count() >= 2, reason="here are GPUs enough")
def test_nccl_without_a_gpu_for_each_column_is_an_error_naming_the_way_out(train: Any, tmp_path: Path) -> None:
    result = train.here(tmp_path, "--columns 2 --backend nccl")
    assert result.exit_code == 2
    assert re.fullmatch(
        r"error: 2 processes on this machine \(--columns times --replicas\) need a GPU each, found \d; "
        r"start fewer, or set --backend to gloo\n",
        result.stderr,
    )


@pytest.mark.parametrize(
    ("world_size", "words", "message"),
    [
        ("2", "--columns 1 --replicas 3", "--columns (=1) times --replicas (=3)"),
        ("3", "--columns 2", "--columns (=2) times --replicas (=1)"),
        ("1", "--columns 2", "--columns (=2) times --replicas (=1)"),
    ],
)
def test_another_number_of_processes_than_columns_is_an_error(
    world_size: str, words: str, message: str, train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", world_size)
    result = train.here(tmp_path, words)
    told = f"error: {message} must equal the number of processes that torchrun started, {world_size}\n"
    assert (result.exit_code, result.stderr) == (2, told)


@pytest.mark.slow
def test_an_error_under_torchrun_ends_both_ranks(train_on: Any, dataset_copy: Dataset, tmp_path: Path) -> None:
    (dataset_copy.folder / "val-000000.tar").unlink()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*launcher, "-m", "freelight.train", *train_on(dataset_copy).words(tmp_path / "out", "--columns 2")]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 1
    assert f"error: {dataset_copy.folder}/val-000000.tar is missing" in result.stderr
