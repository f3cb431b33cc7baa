"""Several views of each image: a tensor for each, with draws of its own, cut out of one decoding."""

import dataclasses
import itertools
import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from loading import SMALL
from mixed import plain

from freelight.pipeline import (
    Batch,
    CenterCrop,
    ColorJitter,
    Loader,
    Mix,
    RandomResizedCrop,
    Schedule,
    TenCrop,
    Transform,
    Views,
    draw_epoch,
)
from freelight.shards import Dataset, FreelightError

LARGE = dataclasses.replace(plain(RandomResizedCrop(size=48)), ops=(ColorJitter(brightness=0.4, p=0.8),))
LOCAL = plain(RandomResizedCrop(size=24, scale=(0.05, 0.3), interpolation="random"))
LOCAL = dataclasses.replace(LOCAL, dtype="float32")
CUT, WHOLE = plain(SMALL.crop), plain(CenterCrop(size=40, resize=64))
VIEWS = Views((LARGE, 2), (LOCAL, 3), CUT, WHOLE)
PARTS = [LARGE, LARGE, LOCAL, LOCAL, LOCAL, CUT, WHOLE]


def make(dataset: Dataset, transform: Transform | Views | Schedule = VIEWS, **settings: Any) -> Loader:
    return Loader(dataset, "train", **{"batch_size": 14, "transform": transform, "extras": ("samples",), **settings})


def images(batches: Iterable[Batch]) -> dict[int, list[bytes]]:
    """Return the pixels of each view, by sample."""
    found = {}
    for batch in batches:
        for place, sample in enumerate(batch.samples.tolist()):
            assert sample not in found
            found[sample] = [view[place].numpy().tobytes() for view in batch.images]
    return found


@pytest.fixture(scope="module")
def expected(dataset: Dataset) -> dict[int, list[bytes]]:
    return images(make(dataset))


def test_each_view_is_that_of_its_transform_with_draws_of_its_own(
    dataset: Dataset, decoded: dict[str, Any], expected: dict[int, list[bytes]]
) -> None:
    batch = next(iter(make(dataset)))
    assert [tuple(view.shape) for view in batch.images] == [(14, 3, part.crop.size, part.crop.size) for part in PARTS]
    assert [view.dtype for view in batch.images] == [getattr(torch, part.dtype) for part in PARTS]
    draws = [draw_epoch(60, seed=0, epoch=0).occurrence(view=view) for view in range(7)]
    sizes = dataset.split("train").sizes
    for place, sample in enumerate(batch.samples[:4].tolist()):
        for view, (part, own) in enumerate(zip(PARTS, draws, strict=True)):
            reference = part.apply(decoded["train"][sample], own, sample, None, sizes)
            difference = np.abs(reference.astype(float) - batch.images[view][place].numpy())
            assert difference.max() <= 3, (sample, view)
            assert difference.mean() < 0.5, (sample, view)
    alone = images(batch._replace(images=(batch.images,)) for batch in make(dataset, LARGE))
    assert {sample: views[:1] for sample, views in expected.items()} == alone, "the first view"
    assert len(set(itertools.chain(*(views[:5] for views in expected.values())))) == 300, "views are equal"


@pytest.mark.parametrize(
    "settings", [{"batch_size": 25, "prefetch": 0}, {"num_threads": 5, "prefetch": 4}, {"world_size": 3}]
)
def test_views_do_not_depend_on_batches_threads_and_ranks(
    settings: dict[str, Any], dataset: Dataset, expected: dict[int, list[bytes]]
) -> None:
    ranks = [make(dataset, rank=rank, **settings) for rank in range(3)] if "world_size" in settings else None
    found = images(itertools.chain(*ranks) if ranks else make(dataset, **settings))
    assert found == expected


def test_an_epoch_is_resumed_by_a_copy(dataset: Dataset, expected: dict[int, list[bytes]]) -> None:
    """Batches that are kept do not change; the memory of crops is used again."""
    loader = make(dataset)
    first = list(itertools.islice(loader, 2))
    other = pickle.loads(pickle.dumps(loader))
    other.load_state_dict(loader.state_dict())
    assert images([*first, *other]) == expected
    with pytest.raises(FreelightError, match="for another transform"):
        make(dataset, Views((LARGE, 2), CUT)).load_state_dict(loader.state_dict())


def test_views_follow_a_schedule_and_repeats(dataset: Dataset, expected: dict[int, list[bytes]]) -> None:
    """Of a sample the second time has other draws; where nothing is drawn, all are equal."""
    loader = make(dataset, Schedule({0: CUT, 1: VIEWS}), batch_size=20, repeats=2)
    assert all(isinstance(batch.images, torch.Tensor) for batch in loader)
    loader.set_epoch(1)
    batch = next(iter(loader))
    for view, part in enumerate(PARTS):
        again, before = batch.images[view].chunk(2)
        assert torch.equal(again, before) == (part is WHOLE)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((), "at least one transform"),
        (((CUT, 0),), r"`number of views` \(=0\)"),
        (((CUT, 2, 3),), "not a pair"),
        (("crop",), r"`views` \(='crop'\)"),
        ((plain(TenCrop(size=24)),), "TenCrop makes 10 views of its own"),
    ],
)
def test_wrong_views_are_one_line(parts: Any, message: str) -> None:
    with pytest.raises(FreelightError, match=message) as caught:
        Views(*parts)
    assert "\n" not in str(caught.value)


def test_mixing_refuses_views(dataset: Dataset) -> None:
    with pytest.raises(FreelightError, match="`mix` blends one tensor of images, not Views"):
        make(dataset, mix=Mix(cutmix_alpha=1.0))
