"""The command `train`, end to end on drawn pictures: what it computes, what it writes, what it refuses."""

import copy
import dataclasses
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


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


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


def test_what_does_not_change_the_result_may_change(train: Any, run: Path) -> None:
    assert train.here(run, "--threads 2 --log-every 7 --checkpoint-every 2").exit_code == 0


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


def test_metrics_of_a_run_that_died_before_its_first_checkpoint_are_forgotten(
    train: Any, run: Path, tmp_path: Path
) -> None:
    """Its steps are repeated, so each must be in the file only once."""
    line = json.dumps({**metrics(run)[0], "loss": 9.0})
    (tmp_path / "metrics.jsonl").write_text(f"{line}\n{line[:20]}")
    assert train.here(tmp_path, "--epochs 1").exit_code == 0
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2, 3, 4, 4]
    assert metrics(tmp_path)[0]["loss"] < 9


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
        "rate; make the dataset again with freelight make-shards --val-fraction 0.1, or choose a schedule by "
        "epochs, as with --set schedule=steps --set drop_epochs=60,80\n"
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


def test_a_sample_that_rotted_stops_the_run_naming_it(train_on: Any, dataset_copy: Dataset, tmp_path: Path) -> None:
    shard = dataset_copy.folder / "train-000001.tar"
    content = bytearray(shard.read_bytes())
    split = dataset_copy.split("train")
    content[int(split.samples["offset"][20]) + 500] ^= 1
    shard.write_bytes(content)
    result = train_on(dataset_copy).here(tmp_path / "out")
    assert result.exit_code == 2
    assert re.fullmatch(rf"error: .*train-000001\.tar: sample {split.key(20)} .*crc32 differs.*\n", result.stderr)


@pytest.mark.parametrize("often", ["--checkpoint-every 1", ""])
def test_a_run_that_diverges_names_the_step_and_its_samples_and_saves_nothing_of_after_it(
    often: str, train: Any, dataset: Dataset, tmp_path: Path
) -> None:
    """The loss is read only every third step; a flag on the device keeps the first bad step."""
    result = train.here(tmp_path, f"--set learning_rate=1e10 --log-every 3 {often}")
    assert result.exit_code == 2
    said = re.fullmatch(
        r"error: the loss of step (\d) is not finite \(epoch 0, samples of train: ([\w, -]*), \.\.\.\); (.*); "
        r"try a smaller `learning_rate` in another --out\n",
        result.stderr,
    )
    assert said, result.stderr
    step = int(said[1])
    samples = draw_epoch(60, seed=0, epoch=0).order[(step - 1) * 16 : (step - 1) * 16 + 8]
    assert said[2].split(", ") == [dataset.split("train").key(sample) for sample in samples]
    assert said[3] == (f"last good checkpoint: {tmp_path}/last.pt" if often else "no checkpoint was saved before")
    assert (tmp_path / "last.pt").exists() == bool(often)
    if often:
        trained = Checkpoint.load(tmp_path / "last.pt")
        assert trained.progress["step"] < step
        assert all(torch.isfinite(weights).all() for weights in trained.weights.values())


def test_weights_that_are_not_finite_are_not_saved_though_the_loss_was(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(optimizer: PaperSGD, rate: Callable[[str], float | None]) -> None:
        optimizer.parameters["fc8.bias"].data[3] = torch.inf

    monkeypatch.setattr(PaperSGD, "step", overflow)
    result = train.here(tmp_path, "--log-every 3 --checkpoint-every 1")
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "error: the weights are not finite after step 1; no checkpoint was saved before; try a smaller "
    )
    assert not list(tmp_path.glob("*.pt"))


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


def test_train_is_installed_as_a_command() -> None:
    (entry,) = entry_points(group="console_scripts", name="train")
    assert entry.load() is main


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


@pytest.mark.slow
def test_an_error_under_torchrun_ends_both_ranks(train_on: Any, dataset_copy: Dataset, tmp_path: Path) -> None:
    (dataset_copy.folder / "val-000000.tar").unlink()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*launcher, "-m", "freelight.train", *train_on(dataset_copy).words(tmp_path / "out", "--columns 2")]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 1
    assert f"error: {dataset_copy.folder}/val-000000.tar is missing" in result.stderr
