"""`train --subset`, `--balanced`, `--class-weights`: what an epoch has, recorded in the run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelight.pipeline import Subset
from freelight.shards import Dataset, FreelightError
from freelight.train import Checkpoint
from freelight.train.run_folder import RunFolder
from freelight.train.sampling import read_class_weights, read_subset


@pytest.mark.slow
def test_a_balanced_run_on_a_subset_is_recorded_and_resumes(train: Any, tmp_path: Path, dataset: Dataset) -> None:
    """20 of 60 images, two epochs; another plan is refused, and the network has all classes."""
    classes = dataset.manifest.classes
    listed = tmp_path / "listed"
    listed.write_text("\n".join(map(str, range(0, 60, 2))))
    subset = f"--subset fraction=0.5 --subset seed=3 --subset file={listed}"
    out = tmp_path / "run"
    result = train.here(out, f"{subset} --balanced --set batch_size=8 --epochs 1")
    assert result.exit_code == 0, result.output
    samples = Subset(fraction=0.5, seed=3, file=listed).samples(dataset.split("train"), classes)
    labels = np.unique(dataset.split("train").samples["label"][samples])
    assert RunFolder(out).metrics().steps[-1].position == len(samples) // len(labels) * len(labels) < 40
    found = Checkpoint.load(out / "last.pt")
    assert "sampling" in found.progress["loader"]
    assert len(found.class_ids) == len(classes)
    again = train.here(out, "--balanced --set batch_size=8 --epochs 2")
    assert again.exit_code == 2
    assert "holds a run with other settings (sampling: " in again.output
    assert " now); use the earlier ones, or another --out" in again.output
    result = train.here(out, f"{subset} --balanced --set batch_size=8 --epochs 2")
    assert result.exit_code == 0, result.output
    assert [step.epoch for step in RunFolder(out).metrics().steps][-1] == 1


def test_options_as_text(tmp_path: Path) -> None:
    assert read_subset([]) is None
    subset = read_subset(["classes=n01,kit fox", "fraction=0.5", "seed=2", "file=keys"])
    assert subset is not None
    assert (subset.classes, subset.fraction, subset.seed, subset.file) == (["n01", "kit fox"], 0.5, 2, "keys")
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"n01": 2, "n02": 0.5}))
    assert read_class_weights(path) == {"n01": 2, "n02": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("half", "`subset` 'half': expected KEY=VALUE, each key once: fraction, seed, classes, file"),
        ("share=0.1", "`subset` 'share=0.1': expected KEY=VALUE"),
        ("fraction=some", "`subset` 'fraction=some': fraction takes a number"),
        ("seed=1", "subset: give `indices`, `classes`, `file` or `fraction`"),
    ],
)
def test_a_subset_that_is_no_subset_is_refused(text: str, message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        read_subset([text])
    with pytest.raises(FreelightError, match="each key once"):
        read_subset(["fraction=0.1", "fraction=0.2"])


def test_weights_that_cannot_be_are_one_line(train: Any, tmp_path: Path) -> None:
    for text, message in (
        ('{"a": -1}', "weights.json: a (=-1) must be a finite number in 0..inf"),
        ('{"dog": 1}', "error: no class has the id or name 'dog'; one is "),
        (None, "weights.json; give an object of numbers by class id or name"),
    ):
        path = tmp_path / "weights.json"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        result = train.here(tmp_path / "run", f"--class-weights {path}")
        assert result.exit_code == 2
        assert message in result.output
        assert len(result.output.splitlines()) == 1
    path.write_text('{"dog": 1}')
    result = train.here(tmp_path / "run", f"--class-weights {path} --balanced")
    assert result.output == "error: give --class-weights or --balanced, not both\n"
