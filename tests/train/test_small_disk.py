"""On a disk that becomes full, every command ends with one line and exit code 2, and loses nothing."""

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from disks import on_small_disk

from freelight.shards import Dataset, verify_dataset
from freelight.train import Checkpoint, RunFolder

pytestmark = pytest.mark.slow

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


def must_name(disk: Path, file: str, size: str, words: Sequence[str | Path]) -> None:
    """Check that the command's only error names `file`, a regular expression, and the disk."""
    done = on_small_disk(disk, size, words, environment={"OMP_NUM_THREADS": "1"})
    lines = [line for line in done.stderr.splitlines() if line.startswith(("error", "Traceback", "Fatal"))]
    assert len(lines) == 1, done.stderr
    space = rf"the disk mounted at {disk} has too little space \([\d,]+ bytes free\); free some space"
    assert re.match(rf"error: {disk}/{file} cannot be written: {space}", lines[0]), lines[0]
    assert done.returncode == 2


def tool(name: str, *words: str | Path) -> list[str | Path]:
    return [sys.executable, TOOLS / name, *words]


@pytest.mark.parametrize("more", ["", "--replicas 2"])
def test_a_run_keeps_its_last_checkpoint_and_resumes_on_a_larger_disk(
    more: str, train: Any, run: Path, disk: Path
) -> None:
    """The disk has room for the first of the checkpoints, 1.9 MB each."""
    words = [sys.executable, "-m", "freelight.train", *train.words(disk / "run", more)]
    must_name(disk, r"run/step-\d+\.pt", "2200k", words)
    assert Checkpoint.load(disk / "run" / "last.pt").progress["step"] == 4
    assert len(RunFolder(disk / "run").metrics().steps) == 4
    assert on_small_disk(disk, "20m", words).returncode == 0
    resumed, whole = (Checkpoint.load(folder / "last.pt").weights for folder in (disk / "run", run))
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-3 if more else 0, atol=1e-5 if more else 0)


def test_events_that_do_not_fit_name_their_folder(train: Any, tmp_path: Path, disk: Path) -> None:
    """TensorBoard writes them in a thread, which prints its own traceback."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "tensorboard").symlink_to(disk)
    done = on_small_disk(
        disk, "4k", [sys.executable, "-m", "freelight.train", *train.words(out, "--tensorboard --epochs 20")]
    )
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith(
        f"error: {out}/tensorboard cannot be written: the disk mounted at {disk} has too little space"
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_finished_shards_stay(workers: str, pictures: Path, dataset: Dataset, disk: Path) -> None:
    words = tool("make_shards", "--images", pictures, "--out", disk / "set", "--samples-per-shard", "16")
    must_name(disk, r"set/.*\.(tar|idx|record)", "1m", [*words, "--workers", workers])
    assert list((disk / "set" / ".partial").glob("*.record"))
    assert on_small_disk(disk, "20m", words).returncode == 0
    assert verify_dataset(disk / "set") == []


def test_statistics_are_written_whole_or_not_at_all(dataset: Dataset, disk: Path) -> None:
    copy = Path(shutil.copytree(dataset.folder, disk / "set", ignore=shutil.ignore_patterns("statistics.*")))
    must_name(disk, r"set/.*statistics\..*", "3500k", tool("compute_pca", "--shards", copy))
    assert not (copy / "statistics.npz").exists()


def test_features_that_do_not_fit_leave_no_file(run: Path, dataset: Dataset, disk: Path) -> None:
    """They are written through a memory map, where a disk without space kills the process."""
    words = ["--checkpoint", run / "last.pt", "--shards", dataset.folder, "--features", disk]
    must_name(disk, r"train\.fc7\.npy\.partial", "24k", tool("find_similar", *words))
    assert not list(disk.iterdir())


@pytest.mark.parametrize("name", ["predictions", "report", "preview", "safetensors", "onnx"])
def test_a_file_that_does_not_fit_is_not_there(name: str, run: Path, dataset: Dataset, disk: Path) -> None:
    data = ["--shards", dataset.folder]
    predictions = ["--checkpoint", run / "last.pt", "--views", "1", "--predictions", disk / "file.npz"]
    words = {
        "predictions": tool("evaluate", *data, *predictions),
        "report": tool("report", "--run", run, "--out", disk / "file.html"),
        "preview": tool("preview", *data, "--out", disk / "file.png"),
        **{
            suffix: tool("export", "--checkpoint", run / "last.pt", "--out", disk / f"file.{suffix}")
            for suffix in ("safetensors", "onnx")
        },
    }
    (disk / "other").write_bytes(bytes(4096))
    must_name(disk, r"file\..*", "4k", words[name])
    assert [path.name for path in disk.iterdir()] == ["other"]
