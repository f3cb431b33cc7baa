"""What a graph is fed, and the transforms and graphs that are refused, each with its reason."""

from typing import Any

import pytest
from graph_oracle import STD, define

from freelight.pipeline import (
    CenterCrop,
    Lighting,
    RandomCrop,
    RandomResizedCrop,
    TenCrop,
    Transform,
    graph_inputs,
)
from freelight.shards import (
    FreelightError,
    Statistics,
)


def test_only_small_arguments_are_fed_beside_the_jpegs() -> None:
    places = ["jpeg", "top", "left", "flip"]
    assert graph_inputs(Transform()) == [*places, "light"]
    assert graph_inputs(Transform(lighting=Lighting(mode="off"))) == places
    assert graph_inputs(Transform(crop=RandomResizedCrop(), mean="channel")) == [
        "jpeg",
        "start",
        "shape",
        "flip",
        "light",
    ]
    assert graph_inputs(Transform(crop=TenCrop())) == ["jpeg"]


@pytest.mark.parametrize(
    ("transform", "changes", "message"),
    [
        (Transform(), {"statistics": None}, "pass the dataset's statistics"),
        (Transform(mean="none"), {"statistics": None}, "pass the dataset's statistics"),
        (Transform(), {"image_size": 257}, "mean image has side 256, the dataset's images 257; run .*compute-pca"),
        (Transform(), {"layout": "CHW"}, "`layout` 'CHW' is not one of NCHW, NHWC"),
        (Transform(mean="center window"), {"image_size": 257}, "mean image has side 256, the dataset's images 257"),
        (Transform(crop=RandomCrop(size=257)), {}, "a crop of 257 pixels does not fit the dataset's images of 256"),
        (Transform(crop=CenterCrop(size=257)), {}, "a crop of 257 pixels does not fit"),
    ],
)
def test_what_cannot_be_defined_is_explained(
    transform: Transform, changes: dict[str, Any], message: str, statistics: Statistics
) -> None:
    with pytest.raises(FreelightError, match=message):
        define(transform, **{"statistics": statistics, **changes})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"mean": "picture"},
            "`mean` 'picture' is not one of image, center window, channel, none, nor three RGB numbers",
        ),
        ({"mean": (0.5, 0.5)}, r"`mean` \(=\(0.5, 0.5\)\) must be three numbers, RGB in 0-255 units"),
        ({"std": (1.0,)}, r"`std` \(=\(1.0,\)\) must be three numbers, RGB in 0-255 units"),
        ({"std": (1.0, 0.0, 1.0)}, r"`std` \(=\(1.0, 0.0, 1.0\)\) must be three positive"),
        ({"mean": None}, r"`mean` \(=None\) must be three numbers"),
        ({"mean": (0.5, float("nan"), 0.5)}, r"`mean` \(=\(0.5, nan, 0.5\)\) must be three finite numbers"),
        ({"std": 3.0}, r"`std` \(=3.0\) must be three numbers"),
        ({"std": (1.0, float("inf"), 1.0)}, r"`std` \(=\(1.0, inf, 1.0\)\) must be three positive numbers"),
        ({"flip_probability": None}, r"`flip_probability` \(=None\) must be a number"),
        ({"crop": 224}, r"`crop` \(=224\) must be a Crop"),
        ({"lighting": "std"}, r"`lighting` \(='std'\) must be a Lighting"),
        ({"ops": None}, r"`ops` \(=None\) must be a tuple of ops"),
        ({"dtype": "float64"}, "`dtype` 'float64' is not one of uint8, float16, bfloat16, float32"),
        ({"flip_probability": 1.5}, r"`flip_probability` \(=1.5\) must lie in 0..1"),
        ({"dtype": "uint8"}, "uint8 allows only crop and flip"),
        ({"dtype": "uint8", "mean": "none"}, "uint8 allows only crop and flip"),
        ({"dtype": "uint8", "mean": "none", "crop": CenterCrop(), "std": STD}, "uint8 allows only crop and flip"),
        ({"crop": RandomResizedCrop()}, "a mean image does not fit resized crops"),
        ({"crop": RandomResizedCrop(), "mean": "center window"}, "a mean image does not fit resized crops"),
    ],
)
def test_wrong_transforms_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        Transform(**arguments)
