"""Sampling plans: which samples an epoch has, and how often. Draws, ranks and states work as without one."""

import dataclasses
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loading import SMALL, make

from freelight.pipeline import (
    Lighting,
    Loader,
    Mix,
    RandomCrop,
    RandomResizedCrop,
    Schedule,
    Subset,
    Transform,
    Views,
    draw_epoch,
)
from freelight.pipeline.sampling.evenly import Evenly
from freelight.shards import Dataset, FreelightError

PLAIN: dict[str, Any] = {"mean": "none", "lighting": Lighting(mode="off"), "dtype": "uint8"}


def samples(*loaders: Loader) -> list[int]:
    """Return the samples of an iteration of each loader, in order."""
    return [sample for loader in loaders for batch in loader for sample in batch.samples.tolist()]


def labels(dataset: Dataset) -> npt.NDArray[np.int64]:
    return dataset.split("train").samples["label"].astype(np.int64)


def weights(dataset: Dataset) -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).random(60) * (np.arange(60) % 3 > 0)


@pytest.fixture
def plans(dataset: Dataset) -> list[dict[str, Any]]:
    return [
        {"subset": Subset(indices=range(5, 25))},
        {"weights": weights(dataset), "num_samples": 70},
        {"balanced": True, "subset": Subset(indices=range(31))},
    ]


def test_a_subset_has_what_all_its_arguments_leave(dataset: Dataset, tmp_path: Path) -> None:
    split, classes = dataset.split("train"), dataset.manifest.classes

    def chosen(**arguments: Any) -> list[int]:
        return Subset(**arguments).samples(split, classes).tolist()

    assert chosen(indices=[7, 3, 59]) == [3, 7, 59]
    of_class = np.flatnonzero(labels(dataset) == 2).tolist()
    assert chosen(classes=[classes[2].id]) == chosen(classes=[classes[2].name]) == of_class
    assert chosen(classes=[classes[2].id], indices=range(20)) == [index for index in of_class if index < 20]
    (tmp_path / "keys").write_text("".join(f"{split.key(index)}\n" for index in (40, 2)))
    (tmp_path / "indices").write_text("40\r\n2\r\n")
    assert chosen(file=tmp_path / "keys") == chosen(file=str(tmp_path / "indices")) == [2, 40]
    assert list(split.keys()) == [split.key(index) for index in range(60)]


def test_a_fraction_is_drawn_in_each_class_and_a_larger_one_holds_it(dataset: Dataset) -> None:
    split, classes = dataset.split("train"), dataset.manifest.classes
    counts = np.bincount(labels(dataset))
    drawn = [Subset(fraction=share, seed=3).samples(split, classes) for share in (0.01, 0.3, 0.5, 1)]
    for share, found in zip((0.01, 0.3, 0.5, 1), drawn, strict=True):
        assert np.bincount(labels(dataset)[found]).tolist() == [max(1, int(share * count + 0.5)) for count in counts]
    for smaller, larger in itertools.pairwise(drawn):
        assert set(smaller.tolist()) <= set(larger.tolist())
    assert drawn[1].tolist() != Subset(fraction=0.3, seed=4).samples(split, classes).tolist()
    assert samples(make(dataset, subset=Subset(fraction=0.3, seed=3), seed=9)) != drawn[1].tolist()


def test_entries_have_the_draws_of_their_place(
    dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]], plans: list[dict[str, Any]]
) -> None:
    """An image of any plan equals the numpy reference; copies of a sample differ."""
    for plan in plans:
        loader = make(dataset, **plan)
        draws = draw_epoch(len(loader.sampler), seed=0, epoch=0)
        found = [
            (sample, image)
            for batch in loader
            for image, sample in zip(batch.images, batch.samples.tolist(), strict=True)
        ]
        entries = np.sort([sample for sample, _ in found])
        assert loader.order_of(0).tolist() == [sample for sample, _ in found]
        assert [sample for sample, _ in found] == entries[draws.order].tolist()
        for (sample, image), entry in zip(found[::9], draws.order[::9].tolist(), strict=True):
            expected = SMALL.apply(decoded["train"][sample], draws, entry, None)
            assert np.abs(image.numpy().astype(int) - expected).max() <= 1
        assert len({(sample, image.numpy().tobytes()) for sample, image in found}) == len(found)


def test_weights_are_those_of_a_multinomial_draw(dataset: Dataset) -> None:
    given = weights(dataset)
    loader = make(dataset, weights=given, num_samples=20_000)
    times = np.bincount(loader.order_of(0), minlength=60)
    assert (times[given == 0] == 0).all()
    kept = given > 0
    assert scipy.stats.chisquare(times[kept], 20_000 * given[kept] / given.sum()).pvalue > 0.001
    assert times.tolist() != np.bincount(loader.order_of(1), minlength=60).tolist()
    by_class = {info.id: float(number) for number, info in enumerate(dataset.manifest.classes)}
    loader = make(dataset, weights=by_class, num_samples=20_000)
    times = np.bincount(labels(dataset)[loader.order_of(0)], minlength=len(by_class))
    expected = np.bincount(labels(dataset)) * np.arange(len(by_class))
    assert times[0] == 0
    assert scipy.stats.chisquare(times[1:], 20_000 * expected[1:] / expected.sum()).pvalue > 0.001


def test_balanced_classes_come_equally_often_and_no_sample_twice_before_all_came_once(dataset: Dataset) -> None:
    few = np.flatnonzero(labels(dataset) == 0)[:1]
    tail = np.flatnonzero(labels(dataset) > 0)
    loader = make(dataset, balanced=True, subset=Subset(indices=np.concatenate([few, tail])), batch_size=8)
    classes = len(np.unique(labels(dataset)))
    sizes = np.bincount(labels(dataset)[np.append(few, tail)])
    each = sizes.sum() // classes
    total = np.zeros(60, np.int64)
    for epoch in range(7):
        times = np.bincount(loader.order_of(epoch), minlength=60)
        assert np.bincount(labels(dataset), weights=times).tolist() == [each] * classes
        total += times
        for number in range(classes):
            of_class = total[labels(dataset) == number]
            assert np.ptp(of_class[of_class > 0] if number == 0 else of_class) <= 1
    assert len(loader.sampler) == each * classes
    assert len(samples(loader)) == each * classes
    with_rest = make(dataset, balanced=True, num_samples=classes + 2)
    assert Counter(labels(dataset)[with_rest.order_of(2)].tolist()) == Counter([*range(classes), 0, 1])


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(
    groups=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 20)), min_size=1, max_size=5),
    epochs=st.integers(1, 6),
    seed=st.integers(0, 2**40),
)
def test_groups_of_any_size_are_gone_through_evenly(groups: list[tuple[int, int]], epochs: int, seed: int) -> None:
    """Every epoch has the counts, and all epochs together have each sample of a group as often, to within one."""
    owners = np.repeat(np.arange(len(groups)), [size for size, _ in groups])
    members = [np.flatnonzero(owners == number) for number in range(len(groups))]
    plan = Evenly(members, [count for _, count in groups])
    total = np.zeros(len(owners), np.int64)
    for epoch in range(epochs):
        entries = plan.entries(seed, epoch)
        assert (np.diff(entries) >= 0).all()
        assert np.bincount(owners[entries]).tolist() == [count for _, count in groups]
        total += np.bincount(entries, minlength=len(owners))
    assert all(np.ptp(total[own]) <= 1 for own in members)


def test_the_samples_of_a_class_are_drawn_uniformly(dataset: Dataset) -> None:
    """Over many epochs that begin anywhere in a permutation, all places of it count alike."""
    plan = make(dataset, balanced=True, num_samples=20)._permutations.plan
    counts = sum(np.bincount(plan.entries(seed, 3), minlength=60) for seed in range(400))
    for number in np.unique(labels(dataset)):
        assert scipy.stats.chisquare(counts[labels(dataset) == number]).pvalue > 0.001


def test_an_epoch_of_a_plan_goes_on_on_other_ranks(dataset: Dataset, plans: list[dict[str, Any]]) -> None:
    """Stopped on two ranks, resumed on three with another batch size: the same as without a stop."""
    for plan in plans:
        whole = make(dataset, **plan)
        whole.set_epoch(2)
        expected = Counter(samples(whole))
        seen: Counter[int] = Counter()
        for rank in range(2):
            loader = make(dataset, rank=rank, world_size=2, batch_size=6, **plan)
            loader.set_epoch(2)
            for _, batch in zip(range(2), loader, strict=False):
                seen.update(batch.samples.tolist())
            state = json.loads(json.dumps(loader.state_dict()))
        for rank in range(3):
            loader = make(dataset, rank=rank, world_size=3, batch_size=9, **plan)
            loader.load_state_dict(state)
            seen.update(samples(loader))
        assert seen == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        {"mix": Mix(mixup_alpha=0.4, cutmix_alpha=1.0), "transform": dataclasses.replace(SMALL, dtype="float32")},
        {"transform": Views((SMALL, 2), Transform(crop=RandomCrop(size=32), **PLAIN))},
        {"transform": Schedule({0: SMALL, 2: Transform(crop=RandomResizedCrop(size=32), **PLAIN)})},
        {"steps_per_epoch": 2},
        {"decoded": True},
        {"order": "windowed", "window": 2},
        {"extras": ("samples",), "repeats": 2},
    ],
    ids=["mix", "views", "schedule", "steps_per_epoch", "decoded", "windowed", "repeats"],
)
def test_a_plan_goes_with_the_other_settings(
    arguments: dict[str, Any], dataset: Dataset, plans: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Three epochs of two ranks, put together, are those of one rank that is resumed before each batch."""
    for number, plan in enumerate(plans):
        own = dict(arguments)
        if "decoded" in own:
            own["decoded"] = tmp_path / f"pixels-{number}"
        ranks = [make(dataset, batch_size=8, rank=rank, world_size=2, **own, **plan) for rank in range(2)]
        alone = make(dataset, batch_size=8, **own, **plan)
        for _ in range(3):
            for parts in zip(*ranks, strict=True):
                batch = next(iter(alone))
                alone.load_state_dict(json.loads(json.dumps(alone.state_dict())))
                for one, *shares in zip(batch, *parts, strict=True):
                    of_one, of_shares = (value if isinstance(value, tuple) else (value,) for value in (one, shares[0]))
                    others = shares[1] if isinstance(shares[1], tuple) else (shares[1],)
                    for whole, first, second in zip(of_one, of_shares, others, strict=True):
                        assert torch.equal(whole, torch.cat([first, second]))


def test_a_state_of_another_plan_is_refused(dataset: Dataset, plans: list[dict[str, Any]]) -> None:
    loaders = [make(dataset, **plan) for plan in [{}, *plans]]
    for loader in loaders:
        for other in loaders:
            if other is not loader:
                with pytest.raises(FreelightError, match="the loader's state is for another sampling: "):
                    loader.load_state_dict(other.state_dict())
    same = make(dataset, subset=Subset(indices=np.arange(24, 4, -1)))
    same.load_state_dict(loaders[1].state_dict())
    assert "sampling" not in make(dataset, subset=Subset(fraction=1)).state_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subset": [1, 2]}, r"`subset` \(=\[1, 2\]\) must be a Subset"),
        ({"weights": [1.0] * 59}, "`weights` must be a number for each of the 60 samples of train, or a dict"),
        ({"weights": "heavy"}, "`weights` must be numbers, one for each sample"),
        ({"weights": [1.0] * 59 + [-2.0]}, r"`weights`: that of sample 59 \(=-2\) must be finite, at least 0"),
        ({"weights": [float("nan")] + [1.0] * 59}, r"`weights`: that of sample 0 \(=nan\) must be finite"),
        ({"weights": [0] * 60}, r"`weights`: the sum over the samples \(=0\) must be positive and finite"),
        ({"weights": [1e308] * 60}, r"`weights`: the sum over the samples \(=inf\) must be positive and finite"),
        ({"weights": {"dog": 1}}, "no class has the id or name 'dog'; one is "),
        ({"weights": {}}, r"`weights` has none for the class '\S+' \(.*\); 0 leaves them out"),
        ({"weights": [1] * 60, "balanced": True}, "give `weights` or `balanced`, not both"),
        ({"balanced": 1}, r"`balanced` \(=1\) must be true or false"),
        ({"balanced": True, "num_samples": 2}, r"`num_samples` \(=2\) must be at least \d+, the number of classes"),
        ({"balanced": True, "num_samples": 0}, r"`num_samples` \(=0\) must be at least 1"),
        ({"num_samples": 30}, "`num_samples` is the length of an epoch by `weights`, `balanced` or ratios; without"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(arguments: dict[str, Any], message: str, dataset: Dataset) -> None:
    with pytest.raises(FreelightError, match=message):
        make(dataset, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "subset: give `indices`, `classes`, `file` or `fraction`"),
        ({"fraction": 0}, r"subset: `fraction` \(=0\) must be above 0 and at most 1"),
        ({"fraction": float("nan")}, r"subset: `fraction` \(=nan\) must be above 0"),
        ({"fraction": 0.5, "seed": -1}, r"`seed` \(=-1\) must be at least 0"),
        ({"classes": "dog"}, r"subset: `classes` \(='dog'\) must be a list of ids or names"),
        ({"classes": ["dog"]}, "no class has the id or name 'dog'"),
        ({"classes": []}, "subset: no sample of train is left"),
        ({"indices": []}, "subset: no sample of train is left"),
        ({"indices": [3, 60]}, r"subset: `indices`: 60 must lie in 0\.\.59"),
        ({"indices": [-1]}, r"subset: `indices`: -1 must lie in 0\.\.59"),
        ({"indices": [4, 5, 4]}, "subset: `indices`: 4 comes twice; `weights` can take a sample several times"),
        ({"indices": [0.5]}, "subset: `indices` must be whole numbers, one a sample"),
        ({"file": "missing"}, "subset: there is no file "),
        ({"file": "0\n60\n"}, r"list: 60 must lie in 0\.\.59"),
        ({"file": "0\nnone\n"}, "list: no sample of train has the key '0'"),
        ({"file": "none\nnone\n"}, "list: the key 'none' comes twice"),
    ],
)
def test_a_subset_that_cannot_be_is_refused(
    arguments: dict[str, Any], message: str, dataset: Dataset, tmp_path: Path
) -> None:
    if "file" in arguments:
        path = tmp_path / "list"
        if arguments["file"] != "missing":
            path.write_text(arguments["file"])
        arguments = {"file": path}
    with pytest.raises(FreelightError, match=message):
        Subset(**arguments).samples(dataset.split("train"), dataset.manifest.classes)
