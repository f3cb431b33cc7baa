"""The graphs that begin with stored pixels, on a GPU too."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from freelight.pipeline import (
    CenterCrop,
    Crop,
    Lighting,
    RandomCrop,
    RandomResizedCrop,
    TenCrop,
    Transform,
    define_pipeline,
    draw_epoch,
)
from freelight.pipeline.graph import Beginning, beginning_of, inputs_after
from freelight.shards import Dataset, Statistics


@pytest.mark.parametrize(
    ("transform", "beginning"),
    [
        (Transform(), "pictures"),
        (Transform(mean="center window"), "pictures"),
        (Transform(crop=CenterCrop(), mean="channel"), "pictures"),
        (Transform(crop=TenCrop(resize=256), mean="channel"), "pictures"),
        (Transform(crop=RandomResizedCrop(interpolation="random"), mean="channel"), "windows"),
        (Transform(crop=RandomCrop(resize=256), mean="channel"), "windows"),
        (Transform(crop=CenterCrop(crop_pct=0.9), mean="channel"), "windows"),
    ],
)
def test_the_gpu_graph_is_defined_without_a_gpu(
    transform: Transform,
    beginning: Beginning,
    statistics: Statistics,
    output_devices: Callable[..., list[str]],
) -> None:
    """What is stored is fed from the host; crops are resized on the device."""
    assert beginning_of(transform, 0, layout="NHWC", is_stored=True) == beginning
    assert output_devices(transform, statistics, layout="NHWC", beginning=beginning) == ["gpu"]


@pytest.mark.parametrize("crop", [RandomResizedCrop(size=64, interpolation="random"), RandomCrop(size=48, resize=64)])
def test_a_graph_over_windows_gives_the_batch_of_the_graph_over_jpegs(
    crop: Crop, dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    """Only a GPU begins with windows that are still to be resized; here DALI resizes them on the CPU."""
    transform = Transform(crop=crop, mean="none", lighting=Lighting(mode="off"), dtype="uint8")
    split, samples = dataset.split("train"), np.arange(4, dtype=np.int32)
    chosen = transform.choose(draw_epoch(60, seed=0, epoch=0), split.sizes, None).take(samples)
    start, shape = crop.needed(chosen, split.sizes[samples])
    windows = [
        np.ascontiguousarray(decoded["train"][i][top : top + height, left : left + width])
        for i, (top, left), (height, width) in zip(samples, start, shape, strict=True)
    ]
    jpegs = [np.frombuffer(split.read(i), np.uint8) for i in samples.tolist()]
    batches = [
        run(transform, beginning, [first, *(chosen[name] for name in inputs_after(beginning, transform))])
        for beginning, first in (("jpegs", jpegs), ("windows", windows))
    ]
    assert np.array_equal(*batches)


def run(transform: Transform, beginning: Beginning, inputs: list[Any]) -> npt.NDArray[np.uint8]:
    """Return the images of one batch."""
    pipeline = define_pipeline(
        transform,
        source=lambda: inputs,
        image_size=256,
        statistics=None,
        batch_size=4,
        num_threads=1,
        prefetch=1,
        device_id=None,
        beginning=beginning,
    )
    (images,) = pipeline.run()
    return np.asarray(images.as_tensor())
