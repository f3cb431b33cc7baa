"""Policies: what is drawn, and that it depends on nothing but seed, epoch and sample."""

import dataclasses
import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from freelight.pipeline import (
    AutoAugment,
    Lighting,
    Loader,
    RandAugment,
    RandomCrop,
    RandomResizedCrop,
    TimmRandAugment,
    Transform,
    TrivialAugmentWide,
    draw_epoch,
)
from freelight.pipeline.ops.policies.auto_augment import IMAGENET
from freelight.pipeline.ops.policies.magnitudes import NAMES
from freelight.pipeline.ops.policies.policy import Policy
from freelight.shards import Dataset, FreelightError

POLICIES: tuple[Policy, ...] = (
    RandAugment(magnitude=20, fill=(124, 116, 104)),
    TrivialAugmentWide(),
    TimmRandAugment.parse("rand-m7-n3-mstd0.5-inc1"),
    AutoAugment(policy="imagenet"),
)


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
@pytest.mark.parametrize(
    ("world_size", "batch_size", "num_threads", "prefetch"),
    [(1, 1, 2, 2), (1, 32, 4, 1), (3, 7, 1, 0), (3, 60, 2, 2), (4, 3, 4, 1), (4, 32, 1, 0)],
)
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


COUNT = 100_000


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("policy", "sizes"),
    [
        (TrivialAugmentWide(), {"operation": 14, "magnitude": 31, "sign": 2}),
        (RandAugment(n=2), {"operation": 14, "sign": 2}),
        (TimmRandAugment(n=2), {"operation": 15, "sign": 2}),
        (AutoAugment(), {"pair": 25, "sign": 2}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_operations_magnitudes_and_signs_are_uniform_and_independent(
    policy: Policy, sizes: dict[str, int], seed: int
) -> None:
    """Over 10^5 occurrences, all layers together. Below 4.5: alpha is about 10^-4 for these degrees of freedom."""
    drawn = chosen(policy, COUNT, seed=seed)
    columns = [(column, size) for name, size in sizes.items() for column in drawn[name].reshape(COUNT, -1).T]
    shape = [size for _, size in columns]
    counts = np.bincount(np.ravel_multi_index([column for column, _ in columns], shape), minlength=np.prod(shape))
    assert len(counts) == np.prod(shape)
    assert chi_square(counts, COUNT / len(counts)) < 4.5


@pytest.mark.parametrize("seed", range(3))
def test_operations_are_left_out_by_their_probability(seed: int) -> None:
    """For timm each with 1 - p; for AutoAugment as its table says, for each half of the pairs."""
    policy = TimmRandAugment(n=2, p=0.3)
    operations, _ = policy.plan(chosen(policy, COUNT, seed=seed), 224)
    for layer in operations.T:
        counts = np.bincount(layer, minlength=16)
        assert chi_square(counts, COUNT * np.array([0.3 / 15] * 15 + [0.7])) < 4.5

    searched = AutoAugment()
    operations, _ = searched.plan(chosen(searched, COUNT, seed=seed), 224)
    for half, layer in enumerate(operations.T):
        expected = np.zeros(len(searched.names))
        for pair in IMAGENET:
            name, probability, _ = pair[half]
            expected[searched.names.index(name)] += COUNT * probability / 25
            expected[0] += COUNT * (1 - probability) / 25
        counts = np.bincount(layer, minlength=len(expected))
        assert not counts[expected == 0].any()
        assert chi_square(counts[expected > 0], expected[expected > 0]) < 4.5


@pytest.mark.parametrize("seed", range(3))
def test_timms_noise_is_normal_and_ends_at_the_maximum(seed: int) -> None:
    """The shear of each image tells its magnitude. Kolmogorov-Smirnov distance below 1.95 / sqrt(n), alpha 0.001."""
    for text, distribution in (
        ("rand-m9-mstd0.5-p1", lambda magnitude: 0.5 + 0.5 * np.vectorize(math.erf)((magnitude - 9) / 0.5 / 2**0.5)),
        ("rand-m8-mstd101-p1", lambda magnitude: magnitude / 8),
    ):
        policy = TimmRandAugment.parse(text)
        operations, values = policy.plan(chosen(policy, COUNT, seed=seed), 224)
        magnitudes = np.sort(np.abs(values[operations == policy.names.index("ShearX")]) * 10 / 0.3)
        assert magnitudes.max() <= 10 + 1e-9
        assert (magnitudes > 10 - 1e-9).mean() == pytest.approx(0.0228 if "m9" in text else 0, abs=0.005)
        inside = magnitudes[magnitudes < 10 - 1e-9]
        places = np.arange(len(inside)) / len(magnitudes)
        assert np.abs(distribution(inside) - places).max() < 1.95 / len(magnitudes) ** 0.5


VALUES = {
    "ShearX": (0.09, 0.99),
    "ShearY": (0.09, 0.99),
    "TranslateX": (30, 32),
    "TranslateY": (30, 32),
    "Rotate": (9, 135),
    "Brightness": (0.27, 0.99),
    "Color": (0.27, 0.99),
    "Contrast": (0.27, 0.99),
    "Sharpness": (0.27, 0.99),
    "Posterize": (7, 2),
    "Solarize": (179, 0),
}
"""By hand from torchvision's ranges for 224 pixels: RandAugment's magnitude 9, TrivialAugmentWide's 30."""


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_magnitudes_have_torchvisions_values_with_both_signs(name: str, sign: int) -> None:
    drawn = {"operation": [[NAMES.index(name)]], "magnitude": [[30]], "sign": [[sign]]}
    for policy, value in zip((RandAugment(n=1), TrivialAugmentWide()), VALUES.get(name, (0, 0)), strict=True):
        _, values = policy.plan({key: np.array(value) for key, value in drawn.items()}, 224)
        signed = value if name in ("Posterize", "Solarize") else value * (1 - 2 * sign)
        assert values[0, 0] == pytest.approx(signed + (name in ("Brightness", "Color", "Contrast", "Sharpness")))


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        *(("rand-m9", name, value) for name, value in (("Rotate", 27), ("ShearX", 0.27), ("TranslateY", 91))),
        *(("rand-m9", name, value) for name, value in (("Color", 1.72), ("Posterize", 3), ("Solarize", 230))),
        *(("rand-m9-inc1", name, value) for name, value in (("Color", 1.81), ("Posterize", 1), ("Solarize", 26))),
        ("rand-m9-inc1", "SolarizeAdd", 99),
        ("rand-m15-mmax20-inc1", "Posterize", 0),
        ("rand-m15-inc1", "Rotate", 30),
    ],
)
def test_magnitudes_have_timms_values(text: str, name: str, expected: float) -> None:
    """By hand from timm's `LEVEL_TO_ARG`, for 224 pixels."""
    policy = TimmRandAugment.parse(f"{text}-n1")
    for sign in (0, 1):
        drawn = {"operation": [[policy.names.index(name)]], "chance": [[0.0]], "sign": [[sign]]}
        operations, values = policy.plan({key: np.array(value) for key, value in drawn.items()}, 224)
        assert operations[0, 0] == policy.names.index(name)
        if name == "Color" and policy.increasing:
            assert values[0, 0] == pytest.approx(expected if sign == 0 else 2 - expected)
        else:
            signed = name in ("Rotate", "ShearX", "TranslateY")
            assert values[0, 0] == pytest.approx(-expected if signed and sign else expected)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("rand", TimmRandAugment()),
        ("rand-m9-mstd0.5-inc1", TimmRandAugment(magnitude=9.0, std=0.5, increasing=True)),
        ("rand-n3-m7-mstd0.5", TimmRandAugment(magnitude=7.0, std=0.5, n=3)),
        ("rand-m15-mmax20-p0.8-inc0", TimmRandAugment(magnitude=15.0, maximum=20.0, p=0.8)),
    ],
)
def test_timms_strings_are_parsed(text: str, policy: TimmRandAugment) -> None:
    assert TimmRandAugment.parse(text) == policy
    assert TimmRandAugment.parse(text, fill=7) == dataclasses.replace(policy, fill=7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rand-m9-tweights", "'tweights' is none of m, n, p, mstd, mmax, inc with a number after it"),
        ("rand-m9-mstd", "'mstd' is none of m, n, p, mstd, mmax, inc with a number after it"),
        ("rand-m9-w0", "'w0' is none of m, n, p, mstd, mmax, inc with a number after it"),
        ("rand-m9-n2.5", "'n2.5' must have a whole number after n"),
        ("rand-inc2", "'inc2' must have 0 or 1 after inc"),
        ("augmix-m3", "policy 'augmix-m3' does not begin with rand"),
    ],
)
def test_an_unknown_part_of_timms_string_is_named(text: str, message: str) -> None:
    with pytest.raises(FreelightError, match=re.escape(message)):
        TimmRandAugment.parse(text)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_the_gpu_graph_is_defined_without_a_gpu(policy: Policy, output_devices: Callable[..., list[str]]) -> None:
    assert output_devices(transform_of(policy)) == ["gpu"]


@pytest.mark.gpu
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
        "TimmRandAugment(fill=(124, 116, 104), n=3, magnitude=7.0, increasing=True, std=0.5, p=0.5, maximum=10.0)",
        "AutoAugment(fill=0, policy='imagenet')",
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandAugment(n=0), r"rand augment `n` \(=0\) must be at least 1"),
        (lambda: RandAugment(magnitude=31), r"rand augment `magnitude` \(=31\) must lie in 0..30"),
        (lambda: RandAugment(bins=1), r"rand augment `bins` \(=1\) must lie in 2..256"),
        (lambda: TrivialAugmentWide(bins=300), r"trivial augment wide `bins` \(=300\) must lie in 2..256"),
        (lambda: TimmRandAugment(p=2.0), r"timm rand augment `p` \(=2.0\) must lie in 0..1"),
        (lambda: TimmRandAugment(std=-1.0), r"timm rand augment `std` \(=-1.0\) must be at least 0"),
        (lambda: AutoAugment(policy="cifar10"), r"`policy` \(='cifar10'\) must be"),  # type: ignore[arg-type]
        (lambda: RandAugment(fill=256), r"rand augment `fill` \(=256\) must lie in 0..255"),
        (
            lambda: type("Mine", (RandAugment,), {"names": ("Blur",)})(),
            "`names` has 'Blur', which is not one of Identity, ",
        ),
        (lambda: RandAugment(fill=0.5), r"`fill` \(=0.5\) must be"),  # type: ignore[arg-type]
    ],
)
def test_wrong_settings_are_named(make: Callable[[], Policy], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        make()
