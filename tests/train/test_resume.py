"""A run that is killed at any moment and resumed ends bit for bit as an uninterrupted run."""

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from freelight.pipeline import Batch, Loader, draw_epoch
from freelight.shards import Dataset, ShardSettings, append_shards, compute_statistics, list_images
from freelight.train import Checkpoint

SETTINGS = "--epochs 3 --set batch_size=4 --checkpoint-every 5"
"""15 steps per epoch; checkpoints after 5 and 10 steps of each epoch, and at its end."""
STEPS, SAMPLES = 15, 60


def steps_of(out: Path) -> list[dict[str, Any]]:
    """Return the metrics of whole lines of steps, which a run still under way may be writing."""
    path = out / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [step for step in map(json.loads, lines) if "loss" in step]


def kill_after(step: int, train: Any, out: Path, settings: str) -> Checkpoint:
    """Start a run and kill it, with its ranks, once it has logged `step`; return what it had saved."""
    job = train.begin(out, settings)
    try:
        while not any(line["step"] >= step for line in steps_of(out)):
            assert job.poll() is None, job.stderr.read()
            time.sleep(0.001)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        job.stderr.close()
    return Checkpoint.load(out / "last.pt")


def assert_same(resumed: Path, uninterrupted: Path) -> None:
    """Weights, velocity and state are equal to the last bit."""
    one, other = (Checkpoint.load(out / "last.pt") for out in (resumed, uninterrupted))
    assert one.progress == other.progress
    for kind in ("weights", "velocity"):
        ours, theirs = getattr(one, kind), getattr(other, kind)
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert torch.equal(tensor, theirs[name]), f"{kind} of {name}"
            assert torch.count_nonzero(tensor), f"{kind} of {name}: zeros show nothing"
    losses = [[(line["step"], line["loss"]) for line in steps_of(out)] for out in (resumed, uninterrupted)]
    assert losses[0] == losses[1]


def assert_every_sample_once(out: Path, dataset: Dataset) -> None:
    """The steps in the metrics cover each epoch's order without a gap or a repetition."""
    epochs: dict[int, list[int]] = {}
    for line in steps_of(out):
        order = draw_epoch(SAMPLES, seed=0, epoch=line["epoch"]).order
        seen = epochs.setdefault(line["epoch"], [])
        assert line["step"] == line["epoch"] * STEPS + len(seen) // 4 + 1
        seen += order[len(seen) : line["position"]].tolist()
        assert len(seen) == line["position"]
    assert list(epochs) == [0, 1, 2]
    assert all(sorted(seen) == list(range(len(dataset.split("train")))) for seen in epochs.values())


def assert_killed_inside_an_epoch(checkpoint: Checkpoint) -> None:
    assert checkpoint.progress["step"] % 5 == 0
    assert 0 < checkpoint.progress["loader"]["position"] < SAMPLES


@pytest.fixture(scope="module")
def uninterrupted(train: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    result = train.here(out, SETTINGS)
    assert result.exit_code == 0, result.output
    return out


class Killed(BaseException):
    """Simulates a kill within one process."""


def test_a_run_broken_off_inside_an_epoch_takes_no_sample_twice_and_ends_the_same(
    train: Any, uninterrupted: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batches are recorded where the trainer gets them; the run stops three steps after the last save."""
    taken: list[tuple[int, list[int]]] = []  # the epoch and the samples of each step
    plain = Loader._batch

    def listen(loader: Loader, images: torch.Tensor, samples: Any, *more: Any) -> Batch:
        if loader.split.name == "train":
            taken.append((loader.epoch, samples.tolist()))
            if len(taken) == 24:
                raise Killed
        batch: Batch = plain(loader, images, samples, *more)
        return batch

    monkeypatch.setattr(Loader, "_batch", listen)
    with pytest.raises(Killed):
        train.here(tmp_path, SETTINGS)
    saved = Checkpoint.load(tmp_path / "last.pt").progress
    assert (saved["step"], saved["loader"]["epoch"], saved["loader"]["position"]) == (20, 1, 20)
    assert steps_of(tmp_path)[-1]["step"] == 23

    taken = [*taken[:20], *[(-1, [])] * 10]  # steps after the save are discarded; do not stop at step 24 again
    result = train.here(tmp_path, SETTINGS)
    assert result.exit_code == 0, result.output
    taken = [step for step in taken if step[0] >= 0]
    assert len(taken) == 3 * STEPS, "the first step after is the one after the last saved"
    for epoch in range(3):
        samples = [sample for of, samples in taken if of == epoch for sample in samples]
        assert samples == draw_epoch(SAMPLES, seed=0, epoch=epoch).order.tolist()
    assert_every_sample_once(tmp_path, dataset)
    assert_same(tmp_path, uninterrupted)


def test_killed_inside_an_epoch_the_same_command_ends_with_the_same_weights(
    train: Any, uninterrupted: Path, dataset: Dataset, tmp_path: Path
) -> None:
    saved = kill_after(22, train, tmp_path, SETTINGS)
    assert_killed_inside_an_epoch(saved)
    step, before = saved.progress["step"], steps_of(tmp_path)
    assert before[-1]["step"] > step, "nothing was lost, so nothing is shown"

    assert train.here(tmp_path, SETTINGS).exit_code == 0
    after = steps_of(tmp_path)
    assert after[:step] == before[:step], "steps up to the checkpoint must not be taken again"
    assert after[step]["step"] == step + 1
    assert after[step] != before[step], "the steps after it are"
    assert not list(tmp_path.glob("*.tmp"))
    assert_every_sample_once(tmp_path, dataset)
    assert_same(tmp_path, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["", "--columns 2", "--columns 2 --replicas 2"], ids=["1", "2", "2x2"])
def test_killed_ten_times_at_random_steps_the_same_command_ends_with_the_same_weights(
    processes: str, train: Any, dataset: Dataset, tmp_path: Path
) -> None:
    settings = f"{SETTINGS} --checkpoint-every 2 {processes}"
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert train.typed(whole, settings).returncode == 0
    steps = 0
    for moment in sorted(random.Random(processes).sample(range(3, 44), 10)):
        saved = kill_after(moment, train, out, settings)
        assert steps <= saved.progress["step"] >= moment - 2, "an earlier kill's checkpoint"
        steps = saved.progress["step"]
    assert train.typed(out, settings).returncode == 0
    assert_every_sample_once(out, dataset)
    assert_same(out, whole)


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["", "--columns 2", "--columns 2 --replicas 2"], ids=["1", "2", "2x2"])
@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_the_next_step_and_the_same_command_goes_on_from_there(
    asked: signal.Signals, processes: str, train: Any, tmp_path: Path
) -> None:
    """This is the only save inside the epoch; SIGINT goes to all processes, as from a terminal."""
    settings = f"--epochs 2 --set batch_size=4 {processes}"
    job = train.begin(tmp_path, settings)
    while not steps_of(tmp_path):
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.001)
    if asked == signal.SIGINT:
        os.killpg(job.pid, asked)
    else:
        job.send_signal(asked)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 128 + asked, errors
    saved, taken = Checkpoint.load(tmp_path / "last.pt").progress["step"], steps_of(tmp_path)
    assert saved == taken[-1]["step"] < 30
    assert train.typed(tmp_path, settings).returncode == 0
    assert steps_of(tmp_path)[: len(taken)] == taken, "no step is taken twice"
    assert [line["step"] for line in steps_of(tmp_path)] == list(range(1, 31))


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_columns(
    first: int, then: int, train: Any, dataset: Dataset, tmp_path: Path
) -> None:
    """Not bit for bit, because sums have another order; but the losses are equal except for rounding.

    In float64, because in float32 rounding errors of this small network reach 1/1000 in thirty steps.
    """
    settings = f"{SETTINGS} --set precision=float64"
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert train.here(whole, settings).exit_code == 0
    saved = kill_after(22, train, out, f"{settings} --columns {first}")
    assert_killed_inside_an_epoch(saved)
    before = steps_of(out)
    assert train.typed(out, f"{settings} --columns {then}").returncode == 0
    step = saved.progress["step"]
    assert steps_of(out)[:step] == before[:step]
    assert_every_sample_once(out, dataset)
    for ours, theirs in zip(steps_of(out), steps_of(whole), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5), ours["step"]
    one, other = (Checkpoint.load(path / "last.pt").weights for path in (out, whole))
    assert not all(torch.equal(one[name], other[name]) for name in one), "then the other columns were not used"


@pytest.mark.slow
def test_a_run_goes_on_with_the_images_of_then_after_others_were_appended(
    train_on: Any, uninterrupted: Path, dataset_copy: Dataset, pictures: Path, tmp_path: Path
) -> None:
    """Its weights are those of a run on the dataset before; a new run takes all images, with new statistics."""
    train, out = train_on(dataset_copy), tmp_path / "run"
    assert train.here(out, SETTINGS.replace("--epochs 3", "--epochs 1")).exit_code == 0
    append_shards(list_images(pictures / "val"), dataset_copy.folder, ShardSettings(samples_per_shard=16))
    resumed = train.here(out, SETTINGS)
    assert resumed.exit_code == 0, resumed.output
    assert "appended since this run began; it goes on with the 60 training images of then" in resumed.output
    assert_same(out, uninterrupted)
    new = train.here(tmp_path / "new", SETTINGS)
    assert new.exit_code == 2
    assert "is for the dataset before pictures were appended" in new.output
    grown = Dataset(dataset_copy.folder)
    compute_statistics(grown).save(grown.folder)
    assert train.here(tmp_path / "new", SETTINGS.replace("--epochs 3", "--epochs 1")).exit_code == 0
    assert Checkpoint.load(tmp_path / "new" / "last.pt").fingerprint == grown.fingerprint
    assert train.here(out, SETTINGS.replace("--epochs 3", "--epochs 4")).exit_code == 0
