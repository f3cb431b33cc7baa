"""A run that cannot go on stops, names what is to blame, and saves nothing of after it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from freelight.pipeline import draw_epoch
from freelight.shards import Dataset
from freelight.train import Checkpoint, PaperSGD


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
