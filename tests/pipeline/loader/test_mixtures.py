"""Several datasets as one: samples, labels and pixels of each part, in the ratios given."""

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loading import SMALL, make

from freelight.pipeline import Loader, Subset, Transform, draw_epoch
from freelight.shards import Dataset, FreelightError, Mixture


@pytest.fixture
def mixture(dataset: Dataset, indexed: Dataset) -> Mixture:
    """60 samples of ten classes, and 33 of four others."""
    return Mixture((dataset, 1), (indexed.folder, 3))


def samples(loader: Loader) -> list[int]:
    return [sample for batch in loader for sample in batch.samples.tolist()]


def test_a_joined_split_has_the_samples_of_all_parts_one_after_the_other(dataset: Dataset, indexed: Dataset) -> None:
    joined = Mixture(dataset, indexed).split("train")
    parts = dataset.split("train"), indexed.split("train")
    assert len(joined) == 93
    assert joined.sizes.tolist() == [*parts[0].sizes.tolist(), *parts[1].sizes.tolist()]
    assert list(joined.keys()) == [*parts[0].keys(), *parts[1].keys()]
    assert joined.sources == [*parts[0].sources, *parts[1].sources]
    for index, (part, own) in {3: (parts[0], 3), 60: (parts[1], 0), 92: (parts[1], 32)}.items():
        assert joined.read(index) == part.read(own)
        assert joined.key(index) == part.key(own)
        assert joined.describe(index) == part.describe(own)
        assert joined.metadata(index) == part.metadata(own)
    found = joined.read_all(np.array([92, 3, 60, 4]), lambda size: np.empty(size, np.uint8))
    assert [bytes(jpeg) for jpeg in found if jpeg is not None] == [joined.read(index) for index in (92, 3, 60, 4)]
    with pytest.raises(FreelightError, match="has no split 'test'"):
        Mixture(dataset, indexed).split("test")


def test_classes_are_the_union_or_as_mapped(dataset: Dataset, indexed: Dataset) -> None:
    ids = [[info.id for info in part.manifest.classes] for part in (dataset, indexed)]
    both = Mixture(dataset, indexed, dataset)
    assert [info.id for info in both.manifest.classes] == list(dict.fromkeys(ids[0] + ids[1]))
    split = both.split("train")
    labels = [part.split("train").samples["label"].tolist() for part in (dataset, indexed)]
    names = [info.id for info in both.manifest.classes]
    assert [names[label] for label in split.samples["label"]] == [
        *(ids[0][label] for label in labels[0]),
        *(ids[1][label] for label in labels[1]),
        *(ids[0][label] for label in labels[0]),
    ]
    mapping = {**dict.fromkeys(ids[0], "drawn"), ids[1][0]: "drawn", **dict.fromkeys(ids[1][1:], "other")}
    mapped = Mixture(dataset, indexed, classes=mapping)
    assert [info.id for info in mapped.manifest.classes] == ["drawn", "other"]
    assert mapped.split("train").samples["label"].tolist() == [0] * 60 + [int(label > 0) for label in labels[1]]
    assert len({both.fingerprint, mapped.fingerprint, Mixture(dataset, indexed).fingerprint, dataset.fingerprint}) == 4


def test_parts_come_by_their_ratios_and_a_sample_not_twice_before_all_came_once(mixture: Mixture) -> None:
    loader = make(mixture, num_samples=50)
    total = np.zeros(93, np.int64)
    for epoch in range(5):
        times = np.bincount(loader.order_of(epoch), minlength=93)
        assert (times[:60].sum(), times[60:].sum()) == (13, 37), "a quarter, rounded"
        total += times
        assert np.ptp(total[:60]) <= 1
        assert np.ptp(total[60:]) <= 1
    assert len(make(mixture).sampler) == 93
    plain = make(Mixture(*mixture.parts))
    assert sorted(samples(plain)) == list(range(93)), "without ratios each sample comes once"
    assert "sampling" not in plain.state_dict()


def test_images_are_those_of_the_parts(mixture: Mixture, indexed: Dataset) -> None:
    """With the transform's draws of the entry, and the label in the mixture."""
    loader = make(mixture, subset=Subset(indices=[5, 17, *range(70, 80)]), num_samples=16)
    split, draws = mixture.split("train"), draw_epoch(16, seed=0, epoch=0)
    order = loader.order_of(0).tolist()
    found = [
        (image.numpy().astype(int), label, sample)
        for batch in loader
        for image, label, sample in zip(batch.images, batch.labels.tolist(), batch.samples.tolist(), strict=True)
    ]
    assert [sample for _, _, sample in found] == order
    for (image, label, sample), entry in zip(found, draws.order.tolist(), strict=True):
        picture = np.asarray(split.decode(sample, split.read(sample)))
        sizes = split.sizes[np.sort(order)]
        assert np.abs(image - SMALL.apply(picture, draws, entry, None, sizes)).max() <= 1
        assert label == split.samples["label"][sample]


@pytest.mark.parametrize("settings", [{}, {"order": "windowed", "window": 2}, {"extras": ("samples",), "repeats": 2}])
def test_a_mixture_goes_on_on_other_ranks(settings: dict[str, Any], mixture: Mixture) -> None:
    whole = Counter(samples(make(mixture, **settings)))
    seen: Counter[int] = Counter()
    loaders = [make(mixture, rank=rank, world_size=2, batch_size=8, **settings) for rank in range(2)]
    for loader in loaders:
        for _, batch in zip(range(3), loader, strict=False):
            seen.update(batch.samples.tolist())
    state = json.loads(json.dumps(loaders[0].state_dict()))
    again = pickle.loads(pickle.dumps(make(mixture, batch_size=10, **settings)))
    again.load_state_dict(state)
    seen.update(samples(again))
    assert seen == whole
    with pytest.raises(FreelightError, match="another sampling"):
        make(Mixture(*((part, 1) for part in mixture.parts)), **settings).load_state_dict(state)


def test_decoded_pixels_of_a_mixture(mixture: Mixture, tmp_path: Path) -> None:
    loader, plain = make(mixture, decoded=tmp_path / "px"), make(mixture)
    for _ in range(2):
        for one, other in zip(loader, plain, strict=True):
            assert np.array_equal(one.images, other.images)


def test_a_mixture_that_cannot_be_is_refused(mixture: Mixture, dataset: Dataset, indexed: Dataset) -> None:
    for parts, message in (
        ((), r"mixture: give datasets, or pairs \(dataset, ratio\)"),
        (((dataset, 1, 2),), "mixture: give datasets, or pairs"),
        (((dataset, 1), indexed), "mixture: give each dataset a ratio, or none"),
        (((dataset, 1), (indexed, 0)), r"mixture: a ratio \(=0\) must be a positive, finite number"),
        (((dataset, 1), (indexed, float("nan"))), r"mixture: a ratio \(=nan\) must be a positive"),
        (((dataset, 1), (indexed, "much")), r"mixture: a ratio \(='much'\) must be a positive"),
    ):
        with pytest.raises(FreelightError, match=message):
            Mixture(*parts)
    with pytest.raises(FreelightError, match="mixture: `classes` has nothing for the class '"):
        Mixture(dataset, indexed, classes={})
    for settings, message in (
        ({"balanced": True}, "the ratios of a mixture say how often samples come; omit `weights` and `balanced`"),
        ({"subset": Subset(indices=[3])}, "no sample of .* is left for the mixture; omit it"),
        ({"num_samples": 1}, r"has no sample in an epoch of 1; give a larger `num_samples`"),
        ({"extras": ("fields",)}, "has no fields of train"),
        ({"transform": Transform()}, "a mixture has no statistics; give `statistics`, such as those of one of"),
    ):
        with pytest.raises(FreelightError, match=message):
            make(mixture, **settings)
