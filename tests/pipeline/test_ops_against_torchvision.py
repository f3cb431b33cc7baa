"""The per-image ops are torchvision's functional forms, in their own environment, at five magnitudes."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from applied import Pixels, chosen_by, of_graph

from freelight.benchmarks.peers import HOME, find_peer
from freelight.demo.drawing import draw_picture
from freelight.pipeline import ColorJitter, Context, GaussianBlur, Grayscale, Op, RandomErasing, Solarize

pytestmark = [pytest.mark.slow, pytest.mark.peers]
SIDE = 224
Steps = list[list[Any]]
OPS: dict[str, Callable[[Any], Op]] = {
    "grayscale": lambda _: Grayscale(p=1.0),
    "solarize": lambda threshold: Solarize(p=1.0, threshold=threshold),
    "blur": lambda sigma: GaussianBlur(p=1.0, sigma=(sigma, sigma)),
    **{
        name: lambda factor, name=name: ColorJitter(**{name: (factor, factor)})
        for name in ("brightness", "contrast", "saturation", "hue")
    },
}
MAGNITUDES: dict[str, list[Any]] = {
    "grayscale": [None] * 5,
    "solarize": [0, 64, 128, 192, 255],
    "blur": [0.1, 0.5, 1.0, 1.5, 2.0],
    "brightness": [0.2, 0.6, 1.0, 1.4, 1.8],
    "contrast": [0.2, 0.6, 1.0, 1.4, 1.8],
    "saturation": [0.2, 0.6, 1.0, 1.4, 1.8],
    "hue": [-0.5, -0.2, -0.05, 0.1, 0.35],
}
SIMCLR = ColorJitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)


@pytest.fixture(scope="module")
def by_torchvision(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, npt.NDArray[Any]]]:
    """Return the function that applies to each image its steps."""
    python = find_peer("torchvision", HOME)
    if python is None:
        pytest.skip("the environment is absent; make it with: tools/benchmark peers torchvision")
    folder = tmp_path_factory.mktemp("torchvision")

    def apply(images: list[Pixels], cases: list[Steps]) -> dict[str, npt.NDArray[Any]]:
        np.savez(folder / "in.npz", images=np.stack(images), cases=json.dumps(cases))
        script = Path(__file__).with_name("torchvision_ops.py")
        subprocess.run([python, script, folder / "in.npz", folder / "out.npz"], check=True, env={})
        with np.load(folder / "out.npz") as found:
            return dict(found)

    return apply


def pictures(count: int) -> list[Pixels]:
    return [np.asarray(draw_picture(k % 10, np.random.default_rng(k), (SIDE, SIDE))) for k in range(count)]


def test_ops_are_torchvisions_within_a_grey_level(by_torchvision: Callable[..., Any]) -> None:
    """In the mean of an image; erased rectangles are equal, and their areas are distributed alike."""
    cases = [(name, value) for name, values in MAGNITUDES.items() for value in values]
    images = pictures(len(cases))
    rectangles = [chosen_by(RandomErasing(p=1.0), SIDE, seed) for seed in range(5)]
    places = [[int(v) for v in (*drawn["anchor"][0], *drawn["shape"][0])] for drawn in rectangles]
    found = by_torchvision(
        [*images, *images[:5]],
        [
            *([[name, *([] if value is None else [value])]] for name, value in cases),
            *([["erase", *place, 7]] for place in places),
        ],
    )
    worst: dict[str, float] = {}
    for (name, value), image, expected in zip(cases, images, found["images"], strict=False):
        error = np.abs(of_graph(OPS[name](value), image).astype(int) - expected).mean()
        worst[name] = max(worst.get(name, 0.0), float(error))
    print({name: round(error, 3) for name, error in worst.items()})
    assert max(worst.values()) <= 1
    for seed, expected in enumerate(found["images"][-5:]):
        erased = of_graph(RandomErasing(p=1.0, value=7.0), images[seed].astype(np.float32), seed)
        assert np.array_equal(erased, expected)
    drawn = RandomErasing(p=1.0).draw(np.random.default_rng(1), 5000)
    ours = RandomErasing(p=1.0).choose(drawn, Context(image_size=None, crop_size=SIDE, statistics=None))
    theirs = found["erased"]
    for mine, other in (
        (ours["shape"].prod(axis=1), theirs[:, 2:].prod(axis=1)),
        (ours["shape"][:, 0], theirs[:, 2]),
        (ours["anchor"][:, 1], theirs[:, 1]),
    ):
        assert scipy.stats.ks_2samp(mine, other).pvalue > 0.001


def test_the_jitters_steps_are_torchvisions_in_this_order(by_torchvision: Callable[..., Any]) -> None:
    """With SimCLR's strength. How much a drawn order changes single images is printed."""
    images = pictures(40)
    generator = np.random.default_rng(0)
    cases: dict[str, list[Steps]] = {"in order": [], "drawn order": [], "other order": []}
    for seed in range(40):
        factors = SIMCLR.factors(SIMCLR.draw(np.random.default_rng(seed), 1))
        steps = [[name, float(value[0])] for name, value in factors.items()]
        cases["in order"].append(steps)
        for kind in ("drawn order", "other order"):
            cases[kind].append([steps[place] for place in generator.permutation(4)])
    found = by_torchvision([*images, *images, *images], [steps for kind in cases.values() for steps in kind])["images"]
    theirs = dict(zip(cases, found.astype(int).reshape(3, *np.shape(images)), strict=True))
    ours = np.stack([of_graph(SIMCLR, image, seed) for seed, image in enumerate(images)])
    in_order = np.abs(ours - theirs["in order"]).mean(axis=(1, 2, 3))
    print(f"in this order: mean {in_order.mean():.2f}, at most {in_order.max():.2f}")
    for one, other in (("in order", "drawn order"), ("drawn order", "other order")):
        print(f"torchvision's, {one} and {other}: mean {np.abs(theirs[one] - theirs[other]).mean():.2f}")
    print(f"torchvision's change: {np.abs(theirs['drawn order'] - np.stack(images)).mean():.1f}")
    assert in_order.max() <= 2
    assert in_order.mean() <= 1
