"""Mixed batches are those of torchvision's own v2 MixUp and CutMix, given the same draws."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mix_reference import draws_of

from freelight.benchmarks.peers import HOME, find_peer
from freelight.pipeline import Lighting, Loader, Mix, RandomCrop, Transform
from freelight.shards import Dataset


@pytest.mark.peers
@pytest.mark.slow
def test_mixed_batches_are_torchvisions(dataset: Dataset, tmp_path: Path) -> None:
    """Two epochs of batches of 7, a last one of 4."""
    python = find_peer("torchvision", HOME)
    if python is None:
        pytest.skip("the environment is absent; make it with: tools/benchmark peers torchvision")
    transform = Transform(
        crop=RandomCrop(size=97), mean=(120.0, 110.0, 100.0), std=(50.0, 50.0, 50.0), lighting=Lighting(mode="off")
    )

    def batches(mix: Mix | None) -> list[Any]:
        loader = Loader(dataset, "train", batch_size=7, transform=transform, seed=2, mix=mix)
        return [batch for _ in range(2) for batch in loader]

    given: dict[str, Any] = {"count": 18}
    for number, (images, labels) in enumerate(batches(None)):
        drawn = draws_of(number % 9, seed=2, epoch=number // 9, mixup_alpha=0.4, cutmix_alpha=1.0)
        kind = "cutmix" if drawn.switch < 0.5 else "mixup"
        row, column = (np.array(int(97 * place)) for place in drawn.center)
        its = {"images": images.numpy(), "labels": labels.numpy(), "kind": kind, "row": row, "column": column}
        given |= {f"{name}{number}": value for name, value in {**its, "share": getattr(drawn, kind)}.items()}
    np.savez(tmp_path / "in.npz", **given)
    script = Path(__file__).with_name("torchvision_mixing.py")
    subprocess.run([python, script, tmp_path / "in.npz", tmp_path / "out.npz"], check=True, env={})
    assert {str(given[f"kind{number}"]) for number in range(18)} == {"mixup", "cutmix"}
    with np.load(tmp_path / "out.npz") as theirs:
        for number, (images, labels) in enumerate(batches(Mix(mixup_alpha=0.4, cutmix_alpha=1.0))):
            assert np.abs(images.numpy() - theirs[f"images{number}"]).max() < 1e-5
            assert np.abs(labels.numpy() - theirs[f"labels{number}"]).max() < 1e-6
