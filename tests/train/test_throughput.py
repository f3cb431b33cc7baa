"""What a run measures: means over all images, the wait, and the first bad step, kept until it is read."""

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from metric_lines import step_metrics

from freelight.train import Mesh
from freelight.train.metrics import EpochMetrics, RunMetrics, parse_line
from freelight.train.norms import squared_norm
from freelight.train.progress import Progress, summary
from freelight.train.run_folder import RunFolder
from freelight.train.step import StepResult
from freelight.train.throughput import Means, Meter


def test_metrics_are_means_over_images_not_over_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short last batch counts by its number of images."""
    meter = Meter(Mesh(), "cpu")
    clock = iter([100.0, 104.0])
    monkeypatch.setattr("freelight.train.throughput.time.perf_counter", lambda: next(clock))
    meter.begin(waited=7.0)
    meter.add(1, StepResult(torch.tensor(30.0), torch.tensor(9)), 10)
    norms = torch.tensor([9.0, 16.0], dtype=torch.float64)
    meter.add(2, StepResult(torch.tensor(1.0), torch.tensor(0), norms), 2)
    assert meter.means(waited=8.0) == pytest.approx(
        Means(
            loss=31 / 12,
            train_top1=9 / 12,
            images_per_second=3.0,
            images_per_second_without_wait=4.0,
            wait_share=0.25,
            gradient_norm=3.0,
            weight_norm=4.0,
        )
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_first_bad_step_stays_known_whatever_comes_after(bad: float) -> None:
    meter = Meter(Mesh(), "cpu")
    for step, loss in enumerate([1.0, 2.0, bad, 1.0, math.nan], start=1):
        assert meter.first_bad_step() == (None if step < 4 else 3)
        meter.add(step, StepResult(torch.tensor(loss), torch.tensor(0)), 4)
        meter.begin(0.0)
    assert meter.first_bad_step() == 3


def test_the_norm_is_of_all_tensors_together() -> None:
    assert squared_norm([torch.tensor([3.0, 0.0]), torch.tensor([[4.0], [12.0]])], Mesh()).item() == pytest.approx(169)


STEP = step_metrics(step=5, epoch=1, position=16, layer_rates={"conv1": 0.0, "fc8": 0.1})


def test_a_line_comes_back_as_it_was_written_with_a_key_for_each_layers_rate() -> None:
    line = STEP.asdict()
    assert list(line)[:7] == [
        *("step", "epoch", "position", "learning_rate", "bias_learning_rate"),
        *("learning_rate_conv1", "learning_rate_fc8"),
    ]
    assert parse_line(json.dumps(line).encode()) == STEP
    assert parse_line(json.dumps({**line, "of_a_later_version": 1}).encode()) == STEP
    epoch = EpochMetrics(step=8, epoch=1, val_top1=0.25, val_top5=0.0)
    assert parse_line(json.dumps(epoch.asdict()).encode()) == epoch


def test_on_a_terminal_a_bar_shows_the_epoch_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    Progress(4, 3).line(STEP)
    assert capsys.readouterr().err == (
        "\r\x1b[K[#####---------------] epoch 2: step 1/4, loss 2.000, 50 images/s, data wait 1.0%, "
        "0 s left of at most 3 epochs"
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a compiler")
def test_compiling_is_said_before_it_happens_and_is_part_of_no_speed(train: Any, tmp_path: Path) -> None:
    """In a new process and with an empty cache, so that it takes its 8 s. The first step takes a second at most."""
    done = train.typed(tmp_path / "run", "--compile --epochs 1", TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "cache"))
    assert "\ncompiling the normalisation, about 8 s ...\nepoch 1: " in done.stdout
    first = RunFolder(tmp_path / "run").metrics().steps[0]
    assert first.images_per_second > 4


def test_a_summary_names_the_best_epoch_and_the_median_speed(run: Path) -> None:
    errors = enumerate((0.5, 0.25))
    epochs = [EpochMetrics(step=4 + 4 * epoch, epoch=epoch, val_top1=top1, val_top5=0.0) for epoch, top1 in errors]
    steps = [
        dataclasses.replace(STEP, images_per_second=speed, wait_share=speed / 1000) for speed in (10.0, 30.0, 20.0)
    ]
    assert summary(RunMetrics.of([*steps, *epochs])) == (
        "8 steps, 2 epochs; best centre-view error 25.0% top-1 in epoch 2; median 20 images/s, data wait 2.0%"
    )
    assert summary(RunFolder(run).metrics()).startswith("8 steps, 2 epochs; ")
    assert summary(RunMetrics()) == "0 steps, 0 epochs"
