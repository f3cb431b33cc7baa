"""Mean, std and dtype as other libraries give them: the same transform, or an error that gives the right values."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from freelight.pipeline import CenterCrop, Lighting, Loader, Transform
from freelight.shards import Dataset, FreelightError

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CENTER = Transform(crop=CenterCrop(size=32), mean=MEAN, std=STD, lighting=Lighting(mode="off"))


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, lambda values: np.array(values, np.float32)])
def test_constants_of_any_kind_are_one_transform(kind: Any) -> None:
    """The repr is compared by loader states: it must not depend on how the numbers came."""
    other = dataclasses.replace(CENTER, mean=kind([10, 20, 30]), std=kind([1, 2.5, 3]))
    assert repr(other) == repr(dataclasses.replace(CENTER, mean=(10.0, 20.0, 30.0), std=(1.0, 2.5, 3.0)))
    assert hash(other) == hash(dataclasses.replace(CENTER, mean=(10.0, 20.0, 30.0), std=(1.0, 2.5, 3.0)))


@pytest.mark.parametrize(
    ("settings", "given", "remedy"),
    [
        (
            {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
            "mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)",
            "give mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)",
        ),
        ({"mean": [0.5] * 3, "std": [0.5] * 3}, "mean=(0.5, 0.5, 0.5)", "give mean=(127.5, 127.5, 127.5)"),
        ({"mean": [0.5] * 3, "std": None}, "mean=(0.5, 0.5, 0.5) are", "give mean=(127.5, 127.5, 127.5)"),
        ({"mean": (0, 0, 0), "std": (0.5, 0.5, 0.5)}, "mean=(0.0, 0.0, 0.0)", "std=(127.5, 127.5, 127.5)"),
    ],
)
def test_constants_of_pixels_in_0_to_1_are_an_error_with_the_right_values(
    settings: dict[str, Any], given: str, remedy: str
) -> None:
    """Inputs would be 255 times too large, and training would fail without a word."""
    with pytest.raises(FreelightError) as caught:
        dataclasses.replace(CENTER, **settings)
    assert given in str(caught.value)
    assert remedy in str(caught.value)
    assert "pixels are in 0-255 here" in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"mean": (0, 0, 0), "std": (1, 1, 1)}, {"mean": (0, 0, 0), "std": None}, {"std": (1, 1, 1)}]
)
def test_constants_that_change_nothing_or_only_the_mean_are_no_error(settings: dict[str, Any]) -> None:
    dataclasses.replace(CENTER, **settings)


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "uint8"])
def test_a_torch_dtype_is_the_dtype_of_that_name_and_of_the_batch(name: str, dataset: Dataset) -> None:
    changes: dict[str, Any] = {"mean": "none", "std": None} if name == "uint8" else {}
    transform = dataclasses.replace(CENTER, dtype=getattr(torch, name), **changes)
    assert transform == dataclasses.replace(CENTER, dtype=name, **changes)
    images, labels = next(iter(Loader(dataset, "val", batch_size=5, transform=transform)))
    assert (images.dtype, labels.dtype) == (getattr(torch, name), torch.int64)
    exact, _ = next(iter(Loader(dataset, "val", batch_size=5, transform=dataclasses.replace(CENTER, **changes))))
    torch.testing.assert_close(images, exact.to(images.dtype), rtol=0.01, atol=0.01)


def test_a_path_and_a_split_alone_give_centred_float32(dataset: Dataset) -> None:
    """The paper's transform, with the dataset's own statistics."""
    images, labels = next(iter(Loader(dataset.folder, "train", batch_size=60)))
    assert (images.shape, images.dtype) == ((60, 3, 224, 224), torch.float32)
    assert labels.shape == (60,)
    assert abs(float(images.mean())) < 3
    same, _ = next(iter(Loader(str(dataset.folder), "train", batch_size=60)))
    assert torch.equal(images, same)
    with pytest.raises(FreelightError, match=r"`dataset` \(=None\) must be a Dataset"):
        Loader(None, "train", batch_size=4)  # type: ignore[arg-type]
