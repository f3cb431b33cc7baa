"""The operations of torchvision's and timm's own policies, and their magnitudes, in their own environment."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listed import Listed, Pixels

from freelight.benchmarks.peers import HOME, find_peer
from freelight.demo.drawing import draw_picture
from freelight.pipeline import TimmRandAugment
from freelight.pipeline.ops.policies.auto_augment import IMAGENET
from freelight.pipeline.ops.policies.magnitudes import values_by_bin

pytestmark = [pytest.mark.slow, pytest.mark.peers]
SIDE = 224


@pytest.fixture(scope="module")
def images() -> Pixels:
    return np.stack([np.asarray(draw_picture(k, np.random.default_rng(k), (SIDE, SIDE))) for k in range(5)])


@pytest.fixture(scope="module")
def theirs(images: Pixels, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    python = find_peer("torchvision", HOME)
    if python is None:
        pytest.skip("the environment is absent; make it with: tools/benchmark peers torchvision")
    folder = tmp_path_factory.mktemp("peers")
    np.savez(folder / "in.npz", images=images)
    script = Path(__file__).with_name("peer_operations.py")
    subprocess.run([python, script, folder / "in.npz", folder / "out.npz"], check=True, env={})
    with np.load(folder / "out.npz") as found:
        return {key: value if value.ndim else json.loads(str(value)) for key, value in found.items()}


def worst_mean(ours: Pixels, expected: Pixels, names: list[str]) -> dict[str, float]:
    """Return the greatest mean difference of an image, away from the border, by operation."""
    worst: dict[str, float] = {}
    for name, image in zip(names, np.abs(ours.astype(int) - expected), strict=True):
        inner = image[8:-8, 8:-8] if name.startswith(("Shear", "Translate", "Rotate")) else image
        worst[name] = max(worst.get(name, 0), float(inner.mean()))
    print({name: round(value, 3) for name, value in worst.items()})
    return worst


def test_operations_and_magnitudes_are_torchvisions(images: Pixels, theirs: dict[str, Any]) -> None:
    listed = Listed()
    cases = theirs["torchvision_names"]
    steps = [
        [(name, float(values_by_bin((name,), 31, SIDE, wide=wide)[sign, 0, place]))]
        for name, wide, place, sign in cases
    ]
    ours = listed.by_graph(images[np.arange(len(cases)) % 5], steps)
    assert len(cases) == (14 + 14 + 1) * 5
    assert max(worst_mean(ours, theirs["torchvision_images"], [case[0] for case in cases]).values()) <= 1


def test_operations_and_magnitudes_are_timms(images: Pixels, theirs: dict[str, Any]) -> None:
    cases = theirs["timm_names"]
    steps = []
    for name, increasing, magnitude in cases:
        policy = TimmRandAugment(magnitude=magnitude, increasing=bool(increasing), p=1.0, n=1)
        drawn = {"operation": [[policy.names.index(name)]], "chance": [[0.0]], "sign": [[0]]}
        _, values = policy.plan({key: np.array(value) for key, value in drawn.items()}, SIDE)
        # Its positive shifts move the image to the left and up; the sign is drawn.
        steps.append([(name, float(-values[0, 0] if name.startswith("Translate") else values[0, 0]))])
    ours = Listed(fill=(124, 116, 104)).by_graph(images[np.arange(len(cases)) % 5], steps)
    assert len(cases) == 2 * 15 * 5
    assert max(worst_mean(ours, theirs["timm_images"], [case[0] for case in cases]).values()) <= 1


def test_pairs_are_torchvisions(theirs: dict[str, Any]) -> None:
    assert theirs["pairs"] == [[list(half) for half in pair] for pair in IMAGENET]
