"""For any sizes and interruptions, every occurrence of a sample comes exactly once per epoch, with the same pixels."""

import functools
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freelight.benchmarks.repeated import repeat_samples
from freelight.pipeline import Batch, Lighting, Loader, Order, RandomCrop, RandomResizedCrop, Subset, Transform
from freelight.shards import (
    Dataset,
    Mixture,
    Rescaling,
    ShardSettings,
    Statistics,
    compute_statistics,
    list_images,
    make_shards,
)

Seen = Counter[tuple[int, int, int]]
"""How often a sample came with this label and this checksum of the pixels."""

OFF = Lighting(mode="off")
TRANSFORMS = (
    Transform(crop=RandomCrop(size=24), mean="none", lighting=OFF, dtype="uint8"),
    Transform(crop=RandomCrop(size=24, shared_by=4), mean="center window", lighting=Lighting(mode="std")),
    Transform(crop=RandomResizedCrop(size=16), mean="channel", lighting=OFF, dtype="float16"),
)

# Number of ranks, samples in a global batch, and the steps after which the ranks are stopped.
LEG = st.tuples(st.integers(1, 4), st.integers(1, 30), st.integers(0, 12))


@pytest.fixture(scope="module")
def small(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The 60 pictures of train at 32 pixels."""
    source = list_images(pictures)
    folder = tmp_path_factory.mktemp("small") / "dataset"
    make_shards(source, folder, ShardSettings(rescaling=Rescaling(size=32), samples_per_shard=16))
    made = Dataset(folder)
    compute_statistics(made).save(folder)
    return made


@pytest.fixture(scope="module")
def sized(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the function that makes a dataset of a given number of samples."""
    return functools.cache(lambda size: repeat_samples(small, "train", size, tmp_path_factory.mktemp("sized") / "set"))


def seen_in(batches: Iterable[Batch]) -> Seen:
    return Counter(
        (sample, label, zlib.crc32(image.numpy().tobytes()))
        for batch in batches
        for image, label, sample in zip(batch.images, batch.labels.tolist(), batch.samples.tolist(), strict=True)
    )


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    size=st.integers(1, 70),
    epoch=st.integers(0, 3),
    transform=st.sampled_from(TRANSFORMS),
    repeats=st.sampled_from((1, 1, 2, 3)),
    interrupted=st.lists(LEG, max_size=3),
    last=LEG,
)
def test_any_chain_of_ranks_batches_and_interruptions_sees_each_occurrence_once(
    sized: Any,
    size: int,
    epoch: int,
    transform: Transform,
    repeats: int,
    interrupted: list[tuple[int, int, int]],
    last: tuple[int, int, int],
) -> None:
    """With the pixels, draws and label that a single uninterrupted rank returns in that epoch."""
    dataset = sized(size)

    ranks = maker_of_ranks(dataset, repeats, transform=transform, statistics=Statistics.load(dataset.folder))
    (alone,) = ranks(1, size)
    alone.set_epoch(epoch)
    whole = seen_in(alone)
    assert Counter(sample for sample, _, _ in whole.elements()) == dict.fromkeys(range(size), repeats)
    assert seen_in_legs(ranks, alone, interrupted, last) == whole


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """Return the number of samples, and a plan over them, as arguments of `Loader`; "ratio" is that of a mixture."""
    size = draw(st.integers(2, 70))
    plan: dict[str, Any] = {}
    if draw(st.booleans()):
        indices = draw(st.sets(st.integers(0, size - 1), min_size=1))
        plan["subset"] = Subset(
            indices=sorted(indices), fraction=draw(st.sampled_from((0.3, 1))), seed=draw(st.integers(0, 9))
        )
    kind = draw(st.sampled_from(("once", "weights", "balanced", "ratio")))
    if kind == "weights":
        plan["weights"] = draw(st.lists(st.sampled_from((0.1, 1, 30)), min_size=size, max_size=size))
    elif kind == "balanced":
        plan["balanced"] = True
    elif kind == "ratio":
        plan["ratio"] = draw(st.floats(0.2, 5))
        plan.pop("subset", None)
    if kind != "once":
        plan["num_samples"] = draw(st.integers(10, 90))
    return size, plan


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    sized_plan=plans(),
    epoch=st.integers(0, 3),
    order=st.sampled_from(("global", "windowed", "sequential")),
    repeats=st.sampled_from((1, 1, 2)),
    interrupted=st.lists(LEG, max_size=3),
    last=LEG,
)
def test_any_plan_gives_the_same_epoch_on_any_ranks_and_after_any_interruption(
    sized: Any,
    small: Dataset,
    sized_plan: tuple[int, dict[str, Any]],
    epoch: int,
    order: Order,
    repeats: int,
    interrupted: list[tuple[int, int, int]],
    last: tuple[int, int, int],
) -> None:
    """Copies of a sample are counted with their pixels, so each entry of the epoch comes once."""
    size, given_plan = sized_plan
    plan = dict(given_plan)
    ratio = plan.pop("ratio", None)
    dataset = sized(size) if ratio is None else Mixture((sized(size), ratio), (small, 1))

    ranks = maker_of_ranks(dataset, repeats, transform=TRANSFORMS[0], order=order, **plan)
    (alone,) = ranks(1, 30)
    alone.set_epoch(epoch)
    whole = seen_in(alone)
    assert whole.total() == repeats * len(alone.sampler)
    assert Counter(sample for sample, _, _ in whole.elements()) == Counter(alone.order_of(epoch).tolist() * repeats)
    assert seen_in_legs(ranks, alone, interrupted, last) == whole


def maker_of_ranks(dataset: Dataset, repeats: int, **settings: Any) -> Callable[[int, int], list[Loader]]:
    """Return what makes the loaders of a number of ranks and a batch size, in samples."""

    def ranks(world_size: int, batch_size: int) -> list[Loader]:
        own = {"seed": 5, "num_threads": 1, "extras": ("samples",), **settings}
        return [
            Loader(
                dataset,
                "train",
                batch_size=batch_size * repeats,
                repeats=repeats,
                rank=rank,
                world_size=world_size,
                **own,
            )
            for rank in range(world_size)
        ]

    return ranks


def seen_in_legs(
    ranks: Callable[[int, int], list[Loader]],
    alone: Loader,
    interrupted: list[tuple[int, int, int]],
    last: tuple[int, int, int],
) -> Seen:
    """Return what an epoch holds that is stopped after each of `interrupted` and resumed on other ranks.

    ranks: makes the loaders of a number of ranks and a batch size. alone: a loader that has finished the epoch.
    """
    images = alone.position
    alone.load_state_dict({**alone.state_dict(), "position": 0})
    state = json.dumps(alone.state_dict())
    seen: Seen = Counter()
    for world_size, batch_size, steps in [*interrupted, (*last[:2], images)]:
        loaders = ranks(world_size, batch_size)
        for loader in loaders:
            loader.load_state_dict(json.loads(state))
        if loaders[0].position == images:  # the next iteration would be the next epoch's
            break
        for _, batches in zip(range(steps), zip(*loaders, strict=True), strict=False):
            shares = [len(batch.samples) for batch in batches]
            assert max(shares) - min(shares) <= 1
            seen += seen_in(batches)
        states = {json.dumps(loader.state_dict()) for loader in loaders}
        assert len(states) == 1, "the ranks are not at the same step"
        (state,) = states
        assert json.loads(state)["position"] == seen.total()
    return seen
