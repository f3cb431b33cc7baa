"""The same command on a GPU trains the same network. Dropout is off here, since its masks differ between devices."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from freelight.train import Checkpoint

pytestmark = pytest.mark.gpu

SETTINGS = "--set dropout=0 --checkpoint-every 3"


def losses(out: Path) -> list[float]:
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def on_the_cpu(train: Any, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of the run on the CPU."""
    out = tmp_path_factory.mktemp("cpu") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "device_count", lambda: 0)
        assert train.here(out, SETTINGS).exit_code == 0
    return losses(out)


def test_one_process_on_a_gpu_has_the_losses_of_the_cpu(train: Any, on_the_cpu: list[float], tmp_path: Path) -> None:
    result = train.typed(tmp_path, SETTINGS)
    assert result.returncode == 0, result.stderr
    assert losses(tmp_path) == pytest.approx(on_the_cpu, rel=1e-2)
    assert all(weights.device.type == "cpu" for weights in Checkpoint.load(tmp_path / "last.pt").weights.values())
    assert train.typed(tmp_path, SETTINGS).stdout.startswith(f"{tmp_path}/last.pt: 8 steps, 2 epochs; ")


def test_two_columns_by_gloo_on_the_gpus_there_are(train: Any, on_the_cpu: list[float], tmp_path: Path) -> None:
    result = train.typed(tmp_path, f"{SETTINGS} --columns 2 --backend gloo")
    assert result.returncode == 0, result.stderr
    assert losses(tmp_path) == pytest.approx(on_the_cpu, rel=1e-2)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a GPU for each column")
def test_two_columns_by_nccl_on_two_gpus(train: Any, on_the_cpu: list[float], tmp_path: Path) -> None:
    result = train.typed(tmp_path, f"{SETTINGS} --columns 2")
    assert result.returncode == 0, result.stderr
    assert losses(tmp_path) == pytest.approx(on_the_cpu, rel=1e-2)
