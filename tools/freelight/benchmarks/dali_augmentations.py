"""Plain DALI's random resized crops, augmented by its own operators and stock policies (`nvidia.dali.auto_aug`)."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from nvidia.dali import fn, pipeline_def, types
from nvidia.dali.auto_aug.rand_augment import rand_augment
from nvidia.dali.auto_aug.trivial_augment import trivial_augment_wide

from freelight.benchmarks.device import CPU, threads_for
from freelight.benchmarks.loader_graphs import Feed, epoch_of, resized_window


def augmenting_graph(
    jpegs: list[Any],
    batch_size: int,
    augmentation: str,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device = CPU,
) -> Callable[[], Iterator[Any]]:
    """Return an epoch of DALI's random resized crop, augmentation, flip, mean and std: float32 (n, 3, 224, 224).

    augmentation: as `freelight.benchmarks.augment` names them. DALI's policies need its conditionals.
    """
    with warnings.catch_warnings(record=True):  # its policies call operators that it deprecates
        pipeline = _augmented(
            Feed(jpegs, {}, batch_size),
            augmentation,
            list(mean),
            list(std),
            device,
            batch_size=batch_size,
            num_threads=threads_for(device),
            device_id=device.index,
            prefetch_queue_depth=3,
            seed=0,
        )
        pipeline.build()
    return lambda: epoch_of(pipeline)


@pipeline_def(enable_conditionals=True)  # type: ignore[untyped-decorator]
def _augmented(feed: Feed, augmentation: str, mean: list[float], std: list[float], device: torch.device) -> Any:
    (jpeg,) = fn.external_source(feed, num_outputs=1, dtype=[types.UINT8], ndim=[1])
    images = _change(resized_window(jpeg, device), augmentation)
    images = fn.crop_mirror_normalize(images, mirror=fn.random.coin_flip(), mean=mean, std=std, dtype=types.FLOAT)
    return _erase_and_mix(images) if augmentation == "mixed" else images


def _change(images: Any, augmentation: str) -> Any:
    if augmentation == "plain":
        return images
    if augmentation == "jitter":
        factors = {
            name: fn.random.uniform(range=[0.6, 1.4], dtype=types.FLOAT)
            for name in ("brightness", "contrast", "saturation")
        }
        return fn.color_twist(images, hue=fn.random.uniform(range=[-36.0, 36.0]), **factors)
    if augmentation == "trivial":
        return trivial_augment_wide(images, shape=[224, 224])
    return rand_augment(images, n=2, m=9, shape=[224, 224])


def _erase_and_mix(images: Any) -> Any:
    """Erase a rectangle of a quarter of the images, and mix each with another one by a weight of its own."""
    if fn.random.coin_flip(probability=0.25, dtype=types.BOOL):
        images = fn.erase(
            images,
            anchor=fn.random.uniform(range=[0.0, 0.6], shape=[2]),
            shape=fn.random.uniform(range=[0.14, 0.57], shape=[2]),
            normalized=True,
            axis_names="HW",
        )
    weight = fn.random.beta(alpha=0.2, beta=0.2)
    return images * weight + fn.permute_batch(images, indices=fn.batch_permutation()) * (1.0 - weight)
