"""Replicas of columns train the same weights as one process, for any shares of a batch."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from freelight.train import Checkpoint, Mesh, StopRequest
from freelight.train.parallel.votes import Ballot, StoppedError
from freelight.train.run_folder import METRICS

FLOAT64 = "--epochs 1 --set precision=float64"


def test_one_process_is_a_mesh_of_its_own() -> None:
    mesh = Mesh()
    assert (mesh.rank, mesh.world_size) == (0, 1)
    assert (mesh.max_over_ranks(2), mesh.min_over_ranks(2), mesh.is_same_on_all_ranks(2)) == (2, 2, True)
    assert mesh.sum_over_replicas([1, 2.5]) == [1, 2.5]


def test_a_process_alone_votes_to_stop_before_it_votes_to_save() -> None:
    """It stops at once, also when the signal comes after it has voted to continue."""
    stop = StopRequest()
    ballot = Ballot(Mesh(), stop)
    for save in (False, True):
        ballot.cast(save=save)
        assert ballot.count() == save
    for early, save in ((True, True), (False, False)):
        stop.number = signal.SIGTERM if early else None
        ballot.cast(save=save)
        stop.number = signal.SIGTERM
        with pytest.raises(StoppedError):
            ballot.count()
        assert stop.number == signal.SIGTERM


def vote_on_three_ranks(rank: int, folder: Path) -> None:
    """Write to `folder` what rank `rank` of three learns: rank 1 votes to save; rank 2 gets a signal after its vote."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=3)
    mesh = Mesh.join(columns=1, device="cpu", timeout=timedelta(minutes=1))
    stop = StopRequest()
    ballot = Ballot(mesh, stop)
    told: list[Any] = []
    for save in (False, rank == 1):
        ballot.cast(save=save)
        told.append(mesh.max_over_ranks(rank))  # other collectives may come in between
        told.append(ballot.count())
    told += [
        *(mesh.max_over_ranks(rank), mesh.min_over_ranks(rank)),
        *(mesh.is_same_on_all_ranks(7), mesh.is_same_on_all_ranks(7 + (rank == 0))),
        mesh.sum_over_replicas([rank])[0],
    ]
    ballot.cast()
    if rank == 2:
        stop.number = signal.SIGINT
    told.append(ballot.count())
    ballot.cast()
    with contextlib.suppress(StoppedError):
        ballot.count()
        told.append("no rank has stopped")
    (folder / f"{rank}.json").write_text(json.dumps([*told, stop.number]))
    dist.destroy_process_group()


def test_every_rank_acts_on_the_largest_vote_and_learns_the_signal(tmp_path: Path) -> None:
    """A signal during a step, after the vote, stops every rank with the next vote."""
    torch.multiprocessing.spawn(vote_on_three_ranks, (tmp_path,), nprocs=3)
    for rank in range(3):
        told = json.loads((tmp_path / f"{rank}.json").read_text())
        assert told == [2, False, 2, True, 2, 0, True, False, 3.0, False, signal.SIGINT]


def assert_same_training(ours: Path, theirs: Path) -> None:
    lines, expected = (
        [json.loads(line) for line in (path / METRICS).read_text().splitlines()] for path in (ours, theirs)
    )
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
    """If the batch has one image, one replica gets it and the others none. Different columns must never be averaged."""
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
    assert len(result.stdout.splitlines()) == 4, "one process alone reports: a warning, two lines, and the summary"
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
    assert last.startswith(f"error: rank 0 cannot connect to the others at 127.0.0.1:{port} (")
    assert last.endswith("if the port is in use, give torchrun another --master-port")
