"""Replicas of columns train what one process trains, to the last weight, whatever share of a batch each of them has."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from freelight.train import Checkpoint, Mesh
from freelight.train.run_folder import RunFolder

FLOAT64 = "--epochs 1 --set precision=float64"


def test_one_process_is_a_mesh_of_its_own() -> None:
    mesh = Mesh()
    assert (mesh.rank, mesh.world_size) == (0, 1)
    assert mesh.agree(2) == 2
    assert mesh.sum_replicas([1, 2.5]) == [1, 2.5]


def assert_same_training(ours: Path, theirs: Path) -> None:
    lines, expected = (RunFolder(path, keep=1).read() for path in (ours, theirs))
    assert len(lines) == len(expected)
    for line, other in zip(lines, expected, strict=True):
        assert line.keys() == other.keys()
        for name in line.keys() & {"loss", "train_top1", "val_top1", "val_top5", "gradient_norm", "weight_norm"}:
            assert line[name] == pytest.approx(other[name], rel=1e-9), (line["step"], name)
    one, other = (Checkpoint.load(path / "last.pt") for path in (ours, theirs))
    for kind in ("weights", "velocity"):
        for name, tensor in getattr(other, kind).items():
            error = (getattr(one, kind)[name] - tensor).abs().max() / tensor.abs().max()
            assert error < 1e-9, f"{kind} of {name}"


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["--columns 2 --replicas 2", "--replicas 3"])
@pytest.mark.parametrize(("batch", "last"), [(19, 3), (59, 1)])
def test_replicas_train_what_one_process_trains_also_on_a_last_batch_that_leaves_some_nothing(
    batch: int, last: int, processes: str, train: Any, tmp_path: Path
) -> None:
    """Of one image, one replica gets it and the others none; unlike columns must never be averaged."""
    settings = f"{FLOAT64} --set batch_size={batch}"
    assert 60 % batch == last
    assert train.here(tmp_path / "one", settings).exit_code == 0
    result = train.typed(tmp_path / "many", f"{settings} {processes}")
    assert result.returncode == 0, result.stderr
    assert_same_training(tmp_path / "many", tmp_path / "one")


@pytest.mark.slow
def test_under_torchrun_four_processes_are_two_replicas_of_two_columns(train: Any, tmp_path: Path) -> None:
    assert train.here(tmp_path / "one", FLOAT64).exit_code == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
    words = [*launcher, "-m", "freelight.train", *train.words(tmp_path / "many", f"{FLOAT64} --columns 2")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2, "one process alone reports"
    assert_same_training(tmp_path / "many", tmp_path / "one")


@pytest.mark.slow
def test_a_port_in_use_is_an_error_naming_it(train: Any, tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        environment = {**os.environ, "WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        words = [sys.executable, "-m", "freelight.train", *train.words(tmp_path, "--columns 2")]
        result = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert result.returncode == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"error: rank 0 cannot meet the others at 127.0.0.1:{port} (")
    assert last.endswith("if the port is in use, give torchrun another --master-port")
