"""Policies: what is drawn, and that it depends on nothing but seed, epoch and sample."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from freelight.pipeline import (
    Lighting,
    Loader,
    RandAugment,
    RandomCrop,
    RandomResizedCrop,
    Transform,
    TrivialAugmentWide,
    draw_epoch,
)
from freelight.pipeline.ops.policies.magnitudes import NAMES
from freelight.pipeline.ops.policies.policy import Policy
from freelight.shards import Dataset, FreelightError

POLICIES: tuple[Policy, ...] = (RandAugment(magnitude=20, fill=(124, 116, 104)), TrivialAugmentWide())


def transform_of(*ops: Policy, **settings: Any) -> Transform:
    defaults = {"crop": RandomResizedCrop(size=40), "mean": "none", "lighting": Lighting(mode="off"), "dtype": "uint8"}
    return Transform(**{**defaults, **settings}, ops=ops)


def images_of(*loaders: Loader) -> dict[int, bytes]:
    """Return each sample's pixels."""
    return {
        sample: image.numpy().tobytes()
        for loader in loaders
        for batch in loader
        for sample, image in zip(batch.samples.tolist(), batch.images, strict=True)
    }


def chosen(policy: Policy, samples: int, *, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Return the drawn operations of an epoch."""
    return draw_epoch(samples, seed=seed, epoch=0).stream(policy.name, 0).table(samples, policy.draw)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_the_graph_is_the_reference(
    policy: Policy, dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    transform = transform_of(policy, crop=RandomCrop(size=48))
    loader = Loader(dataset, "train", batch_size=60, transform=transform, seed=3, extras=("samples",))
    draws = draw_epoch(60, seed=3, epoch=0)
    batch = next(iter(loader))
    off = [
        np.abs(image.astype(int) - transform.apply(decoded["train"][sample], draws, sample, None))
        for sample, image in zip(batch.samples.tolist(), batch.images.numpy(), strict=True)
    ]
    assert np.mean(off) < 0.1
    assert np.mean([image.any() for image in off]) < 0.5


def test_the_pixels_do_not_depend_on_batches_ranks_threads_prefetch_or_resumption(dataset: Dataset) -> None:
    settings = {"transform": transform_of(RandAugment()), "seed": 3, "extras": ("samples",)}
    whole = images_of(Loader(dataset, "train", batch_size=60, num_threads=1, **settings))
    ranks = [
        Loader(dataset, "train", batch_size=21, rank=rank, world_size=2, num_threads=2, prefetch=0, **settings)
        for rank in range(2)
    ]
    first = [next(iter(loader)) for loader in ranks]
    seen = {
        sample: image.numpy().tobytes()
        for batch in first
        for sample, image in zip(batch.samples.tolist(), batch.images, strict=True)
    }
    later = Loader(dataset, "train", batch_size=11, prefetch=3, **settings)
    later.load_state_dict(json.loads(json.dumps(ranks[0].state_dict())))
    assert {**seen, **images_of(later)} == whole
    assert len(seen) == 21
    assert len(set(whole.values())) == 60


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("world_size", [1, 3, 4])
@pytest.mark.parametrize("batch_size", [1, 7, 32, 60])
@pytest.mark.parametrize(("num_threads", "prefetch"), [(1, 0), (2, 2), (4, 1)])
def test_the_pixels_are_those_of_one_rank(
    policy: Policy, world_size: int, batch_size: int, num_threads: int, prefetch: int, dataset: Dataset
) -> None:
    settings = {"transform": transform_of(policy, dtype="float32"), "seed": 3, "extras": ("samples",)}
    ranks = [
        Loader(
            dataset,
            "train",
            batch_size=batch_size,
            rank=rank,
            world_size=world_size,
            num_threads=num_threads,
            prefetch=prefetch,
            **settings,
        )
        for rank in range(world_size)
    ]
    assert images_of(*ranks) == images_of(Loader(dataset, "train", batch_size=60, **settings))


def chi_square(counts: npt.NDArray[np.integer[Any]], expected: npt.ArrayLike) -> float:
    """Return the distance from expected counts in standard deviations of the chi-square distribution, roughly."""
    freedom = counts.size - 1
    statistic = (np.square(counts - expected) / expected).sum()
    return float((statistic - freedom) / (2 * freedom) ** 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_operations_magnitudes_and_signs_are_uniform_and_independent(seed: int) -> None:
    """Over 10^5 occurrences; below 4.5, alpha is about 10^-4 for these degrees of freedom."""
    count = 100_000
    drawn = chosen(TrivialAugmentWide(), count, seed=seed)
    cells = np.ravel_multi_index(
        [drawn[name][:, 0] for name in ("operation", "magnitude", "sign")], (len(NAMES), 31, 2)
    )
    counts = np.bincount(cells, minlength=len(NAMES) * 62)
    assert chi_square(counts, count / len(counts)) < 4.5

    drawn = chosen(RandAugment(n=2), count, seed=seed)
    cells = np.ravel_multi_index([*drawn["operation"].T, *drawn["sign"].T], (len(NAMES), len(NAMES), 2, 2))
    counts = np.bincount(cells, minlength=len(NAMES) ** 2 * 4)
    assert chi_square(counts, count / len(counts)) < 4.5


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_the_gpu_graph_is_defined_without_a_gpu(policy: Policy, output_devices: Callable[..., list[str]]) -> None:
    assert output_devices(transform_of(policy)) == ["gpu"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_the_gpu_gives_the_cpus_batch(policy: Policy, dataset: Dataset) -> None:
    """Within a grey level; the crops themselves differ by the two decoders."""
    transform = transform_of(policy, crop=RandomCrop(size=48))
    cpu, gpu = (
        next(iter(Loader(dataset, "train", batch_size=60, transform=transform, seed=3, device=device))).images
        for device in ("cpu", "cuda")
    )
    off = (cpu.int() - gpu.cpu().int()).abs().float()
    assert off.mean() <= 2
    assert off.flatten(1).mean(1).median() <= 1


def test_the_text_of_a_policy_is_short_and_stays() -> None:
    """Loader states hold it."""
    assert [repr(policy) for policy in POLICIES] == [
        "RandAugment(fill=(124, 116, 104), n=2, magnitude=20, bins=31)",
        "TrivialAugmentWide(fill=0, bins=31)",
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandAugment(n=0), r"rand augment `n` \(=0\) must be at least 1"),
        (lambda: RandAugment(magnitude=31), r"rand augment `magnitude` \(=31\) must lie in 0..30"),
        (lambda: RandAugment(bins=1), r"rand augment `bins` \(=1\) must lie in 2..256"),
        (lambda: TrivialAugmentWide(bins=300), r"trivial augment wide `bins` \(=300\) must lie in 2..256"),
        (lambda: RandAugment(fill=256), r"rand augment `fill` \(=256\) must lie in 0..255"),
        (lambda: RandAugment(fill=0.5), r"`fill` \(=0.5\) must be"),  # type: ignore[arg-type]
    ],
)
def test_wrong_settings_are_named(make: Callable[[], Policy], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        make()
