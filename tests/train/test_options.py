"""Options of `train` besides the recipe: when to save, how to compute, where to write; and what it refuses."""

import itertools
import os
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from freelight.pipeline import Loader
from freelight.shards import Dataset
from freelight.train import Checkpoint, Network, Trainer
from freelight.train.kernel_pictures import labelled_kernel_grids
from freelight.train.run_folder import RunFolder


def losses(out: Path) -> list[float]:
    return [step.loss for step in RunFolder(out).metrics().steps]


def test_minutes_between_checkpoints_are_counted_from_the_last_one(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake clock adds a second per call; the trainer calls it once per step and once per save."""
    clock = itertools.count()
    saved: list[int] = []
    save = RunFolder.save

    def listen(folder: RunFolder, checkpoint: Checkpoint, *, best: bool) -> None:
        saved.append(checkpoint.progress["step"])
        save(folder, checkpoint, best=best)

    monkeypatch.setattr(RunFolder, "save", listen)
    monkeypatch.setattr("freelight.train.trainer.time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    assert train.here(tmp_path, "--epochs 1 --set batch_size=4 --checkpoint-minutes 0.075").exit_code == 0
    assert saved == [5, 10, 15, 15], "after more than 4.5 seconds each, and before and after the epoch's validation"


@pytest.mark.parametrize("where", ["training", "validation"])
def test_asked_to_stop_it_saves_what_it_has_done_and_goes_on_to_the_same_weights(
    where: str, train: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During the first validation, all steps of the epoch are saved although its errors are not known yet."""
    plain = Loader.__iter__
    asked = []

    def asks(loader: Loader) -> Any:
        for batch in plain(loader):
            if loader.split.name == {"training": "train", "validation": "val"}[where] and not asked:
                asked.append(True)
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(Loader, "__iter__", asks)
    result = train.here(tmp_path)
    step = {"training": 1, "validation": 4}[where]
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (
        128 + signal.SIGTERM,
        f"stopped by SIGTERM after step {step}, which is saved; run the same again to resume",
    )
    assert Checkpoint.load(tmp_path / "last.pt").progress["step"] == step
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "the handlers are put back"
    assert train.here(tmp_path).exit_code == 0
    whole, resumed = (Checkpoint.load(out / "last.pt") for out in (run, tmp_path))
    assert all(torch.equal(resumed.weights[name], weights) for name, weights in whole.weights.items())
    assert losses(tmp_path) == losses(run)


def test_killed_between_a_validation_and_its_checkpoint_no_epoch_is_counted_twice(
    train: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint from before the validation is resumed, and the epoch is validated again."""
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_draw_kernels", lambda _: sys.exit("killed"))
        assert train.here(tmp_path).exit_code == 1
    assert len(RunFolder(tmp_path).metrics().epochs) == 1
    assert train.here(tmp_path).exit_code == 0
    assert [line.epoch for line in RunFolder(tmp_path).metrics().epochs] == [0, 1]
    assert losses(tmp_path) == losses(run)


def test_bfloat16_trains_to_nearly_the_same_losses_and_stays_with_the_run(
    train: Any, run: Path, tmp_path: Path
) -> None:
    """The tolerance is 1 % of the loss over eight steps; for this reason it is not the default."""
    result = train.here(tmp_path, "--set precision=bfloat16")
    assert result.exit_code == 0, result.output
    assert losses(tmp_path) == pytest.approx(losses(run), rel=1e-2)
    assert losses(tmp_path) != losses(run)
    assert all(weights.dtype == torch.float32 for weights in Checkpoint.load(tmp_path / "last.pt").weights.values())
    assert "precision: 'bfloat16' then, 'float32' now" in train.here(tmp_path).stderr


def test_memory_order_and_decoding_do_not_change_the_losses(train: Any, run: Path, tmp_path: Path) -> None:
    result = train.here(tmp_path, "--channels-last --decode whole --hw-decoder-load 0.8")
    assert result.exit_code == 0, result.output
    assert losses(tmp_path) == pytest.approx(losses(run), rel=1e-4)


def test_tensorboard_shows_every_metric_and_the_kernels_of_each_epoch(train: Any, tmp_path: Path) -> None:
    assert train.here(tmp_path, "--tensorboard").exit_code == 0
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    metrics = RunFolder(tmp_path).metrics()
    lines = [line.asdict() for line in (*metrics.steps, *metrics.epochs)]
    for name in {*lines[0], *lines[-1]} - {"step", "epoch", "position"}:
        seen = [(event.step, event.value) for event in events.Scalars(name)]
        assert seen == [(line["step"], pytest.approx(line[name])) for line in lines if name in line], name
    assert [event.step for event in events.Images("kernels")] == [4, 8]


def test_the_first_layers_kernels_are_drawn_with_the_number_of_their_column(run: Path) -> None:
    kernels = Checkpoint.load(run / "last.pt").weights["conv1.weight"]
    with Image.open(run / "kernels.png") as sheet:
        assert sheet.tobytes() == labelled_kernel_grids(kernels, columns=2).tobytes()


def test_two_runs_do_not_share_a_folder(train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freelight.train.run_folder.PATIENCE", 0)
    with RunFolder(tmp_path).locked():
        second = train.here(tmp_path)
    message = f"error: another run is using {tmp_path}; wait until it ends, or choose another --out\n"
    assert (second.exit_code, second.stderr) == (2, message)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert not (tmp_path / "lock").stat().st_mode & 0o111, "a lock is no program"
    assert train.here(tmp_path).exit_code == 0


def test_shards_may_lie_behind_a_url(train_on: Any, dataset: Dataset, run: Path, tmp_path: Path) -> None:
    class Remote:
        folder = f"file://{dataset.folder}"

    out = tmp_path / "run"
    missing = train_on(Remote).here(out)
    assert (missing.exit_code, missing.stderr) == (
        2,
        f"error: file://{dataset.folder} is remote; give --cache, a local folder for its shards\n",
    )
    result = train_on(Remote).here(out, f"--cache {tmp_path / 'cache'}")
    assert result.exit_code == 0, result.output
    assert losses(out) == losses(run)


@pytest.mark.parametrize("where", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_out_of_memory_is_an_error_with_advice(
    where: str, train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*_: Any) -> None:
        torch.empty(2**50, device=where)

    monkeypatch.setattr(Network, "forward", exhaust)
    result = train.here(tmp_path)
    assert result.exit_code == 2
    assert re.match(
        r"error: out of memory \(.*\); reduce --batch-size \(and the learning rate with it\) or --width, ",
        result.stderr,
    )


def test_without_tensorboard_the_option_is_an_error_naming_the_extra(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    result = train.here(tmp_path, "--tensorboard")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: --tensorboard needs the package tensorboard; install it with: pip install 'freelight[tensorboard]'\n",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--keep 0", "--keep (=0) must be at least 1"),
        ("--checkpoint-minutes 0", "--checkpoint-minutes (=0.0) must be positive"),
        pytest.param(
            "--set architecture=half --columns 2",
            "--columns (=2) must divide the network's number of columns (1); set it to 1",
            marks=pytest.mark.slow,  # two processes refuse; test_columns.py has the refusal of one
        ),
    ],
)
def test_what_it_cannot_do_is_an_error(words: str, message: str, train: Any, tmp_path: Path) -> None:
    result = train.here(tmp_path, words) if "columns" not in words else train.typed(tmp_path, words)
    assert message in result.stderr.splitlines()[-1]
