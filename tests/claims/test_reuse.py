"""The claim `reuse` trains one model with both loaders from equal weights, and compares their errors in pairs."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from scipy import stats

from freelight.benchmarks.peers import HOME, find_peer
from freelight.claims import reuse
from freelight.demo.drawing import draw_pictures

Reproduce = Callable[..., Result]


def test_images_are_paired_over_the_means_of_their_seeds() -> None:
    """Against scipy's paired test on each image's mean over the seeds."""
    generator = np.random.default_rng(0)
    theirs, ours = (generator.random((3, 400)) < share for share in (0.8, 0.7))
    shift, margin = reuse.paired_by_image(*([{"right": run.tolist()} for run in runs] for runs in (theirs, ours)))
    found = stats.ttest_rel(theirs.mean(axis=0), ours.mean(axis=0)).confidence_interval(0.95)
    assert shift - margin == pytest.approx(100 * found.low, abs=0.05)
    assert shift + margin == pytest.approx(100 * found.high, abs=0.05)
    assert shift > 0, "ours errs more"


def test_it_wants_torchvision_and_images(reproduce: Reproduce, tmp_path: Path) -> None:
    result = reproduce(reuse.command, "--data", tmp_path, "--out", tmp_path / "out", "--peers", tmp_path)
    assert result.exit_code == 2
    assert f"torchvision is not installed in {tmp_path}; run: freelight benchmark peers" in result.stderr


@pytest.mark.slow
@pytest.mark.peers
def test_both_loaders_train_the_same_model_on_the_same_pictures(reproduce: Reproduce, tmp_path: Path) -> None:
    if find_peer("torchvision", HOME) is None:
        pytest.skip("torchvision's environment is absent; make it with: tools/benchmark peers torchvision")
    pictures = tmp_path / "pictures"
    words = ("--data", pictures, "--out", tmp_path / "out")
    (pictures / "val").mkdir(parents=True)
    result = reproduce(reuse.command, *words)
    assert "must be a folder of images with train/ and val/" in result.stderr
    (pictures / "val").rmdir()
    draw_pictures(pictures, train_per_class=2, val_per_class=2, defects=False)
    small = ("--epochs", "1", "--seeds", "1", "--batch-size", "8", "--crop", "32")
    result = reproduce(reuse.command, *words, *small)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "out" / "reuse.json").read_text())
    runs = record["parts"][1:]
    assert [run["part"] for run in runs] == [
        f"{augmentation}-{loader}-seed0" for augmentation in ("plain", "strong") for loader in reuse.LOADERS
    ]
    assert len({run["initial_weights"] for run in runs}) == 1
    assert len({run["final_loss"] for run in runs}) == 4, "their batches differ"
    assert {len(run["right"]) for run in runs} == {20}
    assert str(tmp_path) not in json.dumps(record)
    assert "plain: unknown" not in result.stdout
    assert "from one pair of runs: the size of the noise is unknown; paired by image" in result.stdout
