"""`train --decoded`: the same run, to the bit, with images that are decoded once."""

from pathlib import Path
from typing import Any

import pytest
import torch

from freelight.train import Checkpoint
from freelight.train.run_folder import RunFolder


@pytest.mark.slow
def test_a_run_with_decoded_pixels_is_the_run_without(train: Any, run: Path, tmp_path: Path) -> None:
    """The limit is for both splits: training images first."""
    result = train.here(tmp_path / "out", f"--checkpoint-every 3 --decoded {tmp_path / 'px'} --decoded-bytes 13MB")
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'px'}: train: 60 images take 11.8 MB decoded; kept: all; 0 are there" in result.output
    assert f"{tmp_path / 'px'}: val: 20 images take 3.9 MB decoded; kept: the first 6, 1.2 MB; 0 are" in result.output
    found, expected = (RunFolder(folder).metrics() for folder in (tmp_path / "out", run))
    assert [step.loss for step in found.steps] == [step.loss for step in expected.steps]
    assert [epoch.val_top1 for epoch in found.epochs] == [epoch.val_top1 for epoch in expected.epochs]
    weights, others = (Checkpoint.load(folder / "last.pt").weights for folder in (tmp_path / "out", run))
    assert all(torch.equal(weights[name], others[name]) for name in others)
    assert (tmp_path / "px" / "val.decoded.pixels").stat().st_size == 6 * 3 * 256 * 256
