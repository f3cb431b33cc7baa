"""`examples/in_timm.py` in the peers' environment: every sample once, exact resumption, and timm's reader of shards."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from framework_runs import PACKAGES, Place, run, run_killed_and_resumed

from freelight.benchmarks.peers import HOME, find_peer
from freelight.shards import Dataset

PYTHON = find_peer("torchvision", HOME)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.peers,
    pytest.mark.skipif(PYTHON is None, reason="timm's environment is absent; make it with: tools/benchmark peers"),
]
READ = """
import json, site, sys
site.addsitedir(sys.argv[2])
from timm.data import create_dataset, create_loader
found = create_dataset("wds/", root=sys.argv[1], split=sys.argv[3], is_training=False, batch_size=16)
batches = create_loader(found, input_size=(3, 224, 224), batch_size=16, use_prefetcher=False, num_workers=1)
labels = [label for _, batch in batches for label in batch.tolist()]
print(json.dumps(labels))
"""


def test_every_sample_comes_once_and_a_killed_run_ends_with_the_same_weights(dataset: Dataset, tmp_path: Path) -> None:
    whole = run("in_timm.py", dataset.folder, tmp_path / "whole", notes=tmp_path / "notes", python=PYTHON)
    assert whole.status == 0, whole.output
    for epoch in range(3):
        assert whole.epoch(epoch) == list(range(60))
    expected = {place: samples for place, samples in whole.batches.items() if place[0] == "train"}
    kills: list[Place] = [("train", 0, 32), ("train", 1, 0), ("train", 1, 48)]
    for kill in kills:
        out, notes = tmp_path / f"run-{kill[1]}-{kill[2]}", tmp_path / f"notes-{kill[1]}-{kill[2]}"
        seen = run_killed_and_resumed("in_timm.py", dataset.folder, out, notes=notes, kill=kill, python=PYTHON)
        assert {place: samples for place, samples in seen.items() if place[0] == "train"} == expected
        first, second = (torch.load(folder / "last.pt") for folder in (tmp_path / "whole", out))
        for part in ("model", "ema"):
            assert all(torch.equal(first[part][name], second[part][name]) for name in first[part])


@pytest.mark.parametrize("split", ["train", "val"])
def test_timms_reader_takes_the_same_shards(split: str, dataset: Dataset) -> None:
    """By the split's name, from `_info.json`, in the order of the shards; labels are those of the samples table."""
    words = ["-c", READ, str(dataset.folder), str(PACKAGES), split]
    done = subprocess.run([str(PYTHON), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == dataset.split(split).samples["label"].tolist()
