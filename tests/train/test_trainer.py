"""The command `train`, end to end on drawn pictures: what it computes, what it writes and says."""

import copy
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from run_files import files

from freelight.pipeline import Loader, draw_epoch
from freelight.shards import Dataset, Statistics, write_statistics
from freelight.train import Checkpoint, DropoutMasks, Network, NetworkConfig, PaperSGD, Recipe, evaluate
from freelight.train.cli import main
from freelight.train.inspection import report

STEP_FIELDS = [
    *("step", "epoch", "position", "learning_rate", "bias_learning_rate", "loss", "train_top1"),
    *("images_per_second", "images_per_second_without_wait", "wait_share", "gradient_norm", "weight_norm"),
]


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_its_checkpoint_and_its_metrics_and_nothing_else(run: Path, two_column_run: Path) -> None:
    names = {"best.pt", "last.pt", "metrics.jsonl", "kernels.png", "environment.json", "lock"}
    assert files(run).keys() == names | {"step-00000006.pt", "step-00000008.pt"}
    assert files(two_column_run).keys() == names | {"step-00000004.pt", "step-00000008.pt"}


@pytest.mark.parametrize("columns", ["run", "two_column_run"])
def test_metrics_have_a_line_a_step_and_a_line_an_epoch(columns: str, request: pytest.FixtureRequest) -> None:
    lines = metrics(request.getfixturevalue(columns))
    steps = [line for line in lines if "loss" in line]
    epochs = [line for line in lines if "loss" not in line]
    assert all(list(line) == STEP_FIELDS for line in steps)
    assert [line["step"] for line in steps] == list(range(1, 9))
    assert [(line["epoch"], line["position"]) for line in steps] == [(e, p) for e in (0, 1) for p in (16, 32, 48, 60)]
    for line in steps:
        assert 0 <= line["wait_share"] <= 1
        assert 0 < line["images_per_second"] <= line["images_per_second_without_wait"]
        assert line["learning_rate"] == 0.001
    assert all(list(line) == ["step", "epoch", "val_top1", "val_top5"] for line in epochs)
    assert [(line["step"], line["epoch"]) for line in epochs] == [(4, 0), (8, 1)]
    assert all(0 <= line["val_top5"] <= line["val_top1"] <= 1 for line in epochs)
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)


def test_two_columns_log_the_losses_and_errors_of_one_process(run: Path, two_column_run: Path) -> None:
    for ours, theirs in zip(metrics(run), metrics(two_column_run), strict=True):
        assert theirs.keys() == ours.keys()
        for name in {"loss", "val_top1", "val_top5"} & ours.keys():
            assert theirs[name] == pytest.approx(ours[name], rel=1e-4), ours["step"]


def test_an_epoch_of_training_equals_a_plain_transcription(run: Path, dataset: Dataset) -> None:
    """Order, draws, crops, flips, lighting, mean image, dropout, loss and update are implemented again in float64.

    Four steps from the initial weights, the last on a short batch; DALI is not used.
    """
    split, statistics = dataset.split("train"), Statistics.load(dataset.folder)
    draws = draw_epoch(len(split), seed=0, epoch=0)
    network = Network(NetworkConfig(width=0.05), classes=10, seed=0).double()
    velocity = {name: torch.zeros_like(parameter) for name, parameter in network.named_parameters()}
    untrained = copy.deepcopy(network)
    expected, without_updates = [], []
    for step, first in enumerate(range(0, 60, 16)):
        samples = draws.order[first : first + 16].tolist()
        decoded = [np.asarray(Image.open(io.BytesIO(split.read(sample)))) for sample in samples]
        transform = Recipe().training_transforms().at(0)
        views = [transform.apply(image, draws, i, statistics) for image, i in zip(decoded, samples, strict=True)]
        labels = torch.from_numpy(split.samples["label"][samples].astype(np.int64))
        images, masks = torch.from_numpy(np.stack(views)), DropoutMasks(0, step)
        loss = F.cross_entropy(network.forward_masked(images, masks), labels)
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for name, w in network.named_parameters():
                velocity[name] = 0.9 * velocity[name] - 0.0005 * 0.001 * w - 0.001 * w.grad
                w += velocity[name]
        expected.append(loss.item())
        without_updates.append(F.cross_entropy(untrained.forward_masked(images, masks), labels).item())
    losses = [line["loss"] for line in metrics(run) if "loss" in line][:4]
    assert losses == pytest.approx(expected, rel=1e-5)
    assert losses[3] != pytest.approx(without_updates[3], rel=3e-4), "steps that hardly move show little"


def test_the_last_errors_logged_are_those_of_the_checkpoints_network(run: Path, dataset: Dataset) -> None:
    trained = Checkpoint.load(run / "last.pt")
    network = trained.network()
    transform = trained.recipe.evaluation_transform(views=1)
    settings = {"batch_size": 20, "transform": transform, "statistics": trained.statistics, "order": "sequential"}
    errors = evaluate(network, Loader(dataset, "val", **settings))
    assert (metrics(run)[-1]["val_top1"], metrics(run)[-1]["val_top5"]) == (errors.top1, errors.top5)
    assert trained.progress["schedule"]["best"] == min(line["val_top1"] for line in metrics(run) if "val_top1" in line)


def test_steps_take_the_schedules_rate_and_its_end_ends_the_run(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With this tiny rate nothing improves, so every epoch after the first is a plateau. The second plateau ends
    training."""
    taken: list[float] = []
    step = PaperSGD.step

    def listen(optimizer: PaperSGD, rate: Callable[[str], float | None]) -> None:
        taken.append(rate("fc8.weight") or 0)
        step(optimizer, rate)

    monkeypatch.setattr(PaperSGD, "step", listen)
    settings = "--epochs 9 --set learning_rate=1e-9 --set plateau_epochs=1 --set plateau_drops=1"
    assert train.here(tmp_path, settings).exit_code == 0
    assert taken == pytest.approx([1e-9] * 8 + [1e-10] * 4)
    assert [line["learning_rate"] for line in metrics(tmp_path) if "loss" in line] == taken
    assert len({line["val_top1"] for line in metrics(tmp_path) if "val_top1" in line}) == 1
    again = train.here(tmp_path, settings)
    assert again.stdout.startswith(f"{tmp_path}/last.pt: 12 steps, 3 epochs; best centre-view error ")
    assert len(taken) == 12


def test_the_command_reports_each_epoch_and_where_the_network_is(train: Any, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "deep"
    result = train.here(out, "--epochs 1 --log-every 3")
    assert result.exit_code == 0, result.output
    warning, threads, epoch, last = result.stdout.splitlines()
    assert re.fullmatch(r"threads: \d+ decode, 1 compute", threads)
    assert warning == (
        "warning: a batch of 16 is more than an eighth of the 60 training images, so an epoch has few steps (4) to "
        "learn in; --batch-size 7 gives at least 8"
    )
    assert re.fullmatch(
        r"epoch 1: step 4/4, loss \d\.\d{3}, \d+ images/s, data wait \d+\.\d%, "
        r"val error \(centre view\) \d+\.\d% top-1, \d+\.\d% top-5",
        epoch,
    )
    assert re.fullmatch(
        rf"{out}/last\.pt: 4 steps, 1 epoch; best centre-view error \d+\.\d% top-1 in epoch 1; "
        r"median \d+ images/s, data wait \d+\.\d%",
        last,
    )
    assert [line["step"] for line in metrics(out)] == [3, 4, 4], "every third step, and the epoch's last"


def test_the_same_command_on_a_finished_run_does_nothing_and_says_so(train: Any, run: Path) -> None:
    before, times = files(run), [path.stat().st_mtime_ns for path in run.glob("*.pt")]
    result = train.here(run, "--checkpoint-every 3")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{run}/last.pt: 8 steps, 2 epochs; ")
    assert files(run) == before
    assert [path.stat().st_mtime_ns for path in run.glob("*.pt")] == times


def test_what_does_not_change_the_result_may_change(train: Any, run: Path) -> None:
    assert train.here(run, "--threads 2 --log-every 7 --checkpoint-every 2").exit_code == 0


def test_metrics_of_a_run_that_died_before_its_first_checkpoint_are_forgotten(
    train: Any, run: Path, tmp_path: Path
) -> None:
    """Its steps are repeated, so each must be in the file only once."""
    line = json.dumps({**metrics(run)[0], "loss": 9.0})
    (tmp_path / "metrics.jsonl").write_text(f"{line}\n{line[:20]}")
    assert train.here(tmp_path, "--epochs 1").exit_code == 0
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2, 3, 4, 4]
    assert metrics(tmp_path)[0]["loss"] < 9


def test_without_val_only_a_schedule_by_epochs_trains_and_has_no_best_checkpoint(
    train_on: Any, dataset_copy: Dataset, tmp_path: Path
) -> None:
    manifest = dataset_copy.folder / "dataset.json"
    content = json.loads(manifest.read_text())
    del content["splits"]["val"]
    manifest.write_text(json.dumps(content))
    out = tmp_path / "out"
    result = train_on(dataset_copy).here(out)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: {dataset_copy.folder} has no split 'val', by whose error the schedule 'plateau' lowers the learning "
        "rate; make the dataset again with freelight make-shards --images IMAGES --out DATASET --val-fraction 0.1, or "
        "choose a schedule by epochs, as with --set schedule=steps --set drop_epochs=60,80\n"
    )
    write_statistics(Dataset(dataset_copy.folder))
    result = train_on(dataset_copy).here(out, "--set schedule=steps --set drop_epochs=1 --set batch_size=30")
    assert result.exit_code == 0, result.output
    said = result.stdout.splitlines()
    assert said[0] == f"{dataset_copy.folder} has no split 'val': no validation errors, and no best.pt"
    assert re.fullmatch(r"epoch 2: step 2/2, loss \d\.\d{3}, \d+ images/s, data wait \d+\.\d%", said[-2])
    assert said[-1].startswith(f"{out}/last.pt: 4 steps, 2 epochs; median ")
    assert {path.name for path in out.glob("*")} & {"best.pt", "last.pt", "kernels.png"} == {"last.pt", "kernels.png"}
    assert [line["learning_rate"] for line in metrics(out)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    assert "Curves" in report(out, None)


def test_train_is_installed_as_a_command() -> None:
    (entry,) = entry_points(group="console_scripts", name="train")
    assert entry.value == "freelight.cli:train"


def test_python_m_runs_the_command_and_help_names_every_option() -> None:
    words = [sys.executable, "-m", "freelight.train", "--help"]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("Usage: train [OPTIONS]")
    options = [option for parameter in main.params for option in (*parameter.opts, *parameter.secondary_opts)]
    for option in (*options, "--help"):
        assert re.search(rf"^  (--[a-z-]+ / )?{option}\b", result.stdout, re.MULTILINE), option


@pytest.mark.slow
def test_under_torchrun_the_two_ranks_train_the_same_network(train: Any, two_column_run: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*launcher, "-m", "freelight.train", *train.words(tmp_path / "out", "--columns 2")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # torchrun would set it, and say so
    result = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith(f"{tmp_path}/out/last.pt: 8 steps, 2 epochs; ")
    assert len(result.stdout.splitlines()) == 5, "one rank alone reports"
    ours, theirs = (Checkpoint.load(out / "last.pt") for out in (two_column_run, tmp_path / "out"))
    for name, weights in ours.weights.items():
        torch.testing.assert_close(theirs.weights[name], weights, rtol=1e-5, atol=1e-7)
