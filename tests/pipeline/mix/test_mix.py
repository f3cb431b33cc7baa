"""What Mixup and CutMix draw, and the labels they make."""

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from mix_reference import box_of, draws_of

from freelight.pipeline import Lighting, Loader, Mix, Pairs, RandomCrop, Transform
from freelight.shards import Dataset, FreelightError


@pytest.mark.parametrize("seed", range(3))
def test_weights_follow_beta_and_operations_their_probabilities(seed: int) -> None:
    """Over 10^5 batches: Beta by Kolmogorov-Smirnov, shares within four standard errors."""
    mix = Mix(mixup_alpha=0.2, cutmix_alpha=1.0, prob=0.8, switch_prob=0.3)
    drawn = mix.table(seed=seed, epoch=2, batches=100_000)
    assert scipy.stats.kstest(drawn["mixup"], "beta", (0.2, 0.2)).pvalue > 1e-3
    assert scipy.stats.kstest(drawn["cutmix"], "uniform").pvalue > 1e-3
    blends = [mix.blend(drawn, batch, 32, 32) for batch in range(10_000)]
    for count, probability in (
        (sum(blend.weight < 1 for blend in blends if blend.box is None), 0.8 * 0.7),
        (sum(blend.box is not None for blend in blends), 0.8 * 0.3),
    ):
        assert abs(count / 10_000 - probability) < 4 * (probability * (1 - probability) / 10_000) ** 0.5


@pytest.mark.parametrize(("height", "width", "seed"), [(224, 224, 0), (33, 48, 1), (7, 5, 2)])
def test_boxes_are_torchvisions_and_weights_their_area(height: int, width: int, seed: int) -> None:
    """Batches 4,000 to 5,000, which lie in two blocks of draws."""
    mix = Mix(mixup_alpha=0.8, cutmix_alpha=1.0, switch_prob=1.0)
    table = mix.table(seed=seed, epoch=1, batches=5000)
    for batch in range(4000, 5000, 7):
        drawn = draws_of(batch, seed=seed, epoch=1, mixup_alpha=0.8, cutmix_alpha=1.0)
        blend = mix.blend(table, batch, height, width)
        assert blend.box == box_of(drawn.cutmix, drawn.center, height, width)
        mask = np.ones((height, width))
        top, left, bottom, right = blend.box
        mask[top:bottom, left:right] = 0
        assert blend.weight == pytest.approx(mask.mean())


def test_soft_labels_sum_to_one_and_equal_classes_add_up() -> None:
    labels, partners = torch.tensor([0, 1, 2, 2]), torch.tensor([3, 0, 2, 1])
    soft = Mix(mixup_alpha=1.0, label_smoothing=0.1).mixed_labels(labels, partners, 0.75, 4)
    expected = np.full((4, 4), 0.025)
    for row, (label, partner) in enumerate(zip(labels, partners, strict=True)):
        expected[row, label] += 0.9 * 0.75
        expected[row, partner] += 0.9 * 0.25
    assert soft.dtype == torch.float32
    assert np.abs(soft.numpy() - expected).max() < 1e-7
    pairs = Mix(mixup_alpha=1.0, labels="pairs").mixed_labels(labels, partners, 0.75, 4)
    assert isinstance(pairs, Pairs)
    assert pairs.labels is labels
    assert pairs.partners is partners
    assert pairs.weights.tolist() == [0.75] * 4


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "all is off; set `mixup_alpha`, `cutmix_alpha` or `label_smoothing`"),
        ({"mixup_alpha": -1}, r"`mixup_alpha` \(=-1\) must be in 0..1000"),
        ({"cutmix_alpha": float("nan")}, r"`cutmix_alpha` \(=nan\) must be in 0..1000"),
        ({"mixup_alpha": "0.2"}, r"`mixup_alpha` \(='0.2'\) must be"),
        ({"mixup_alpha": 1, "prob": 1.5}, r"`prob` \(=1.5\) must be in 0..1"),
        ({"mixup_alpha": 1, "labels": "hard"}, r"`labels` \(='hard'\) must be one of soft, pairs"),
        ({"mixup_alpha": 1, "labels": "pairs", "label_smoothing": 0.1}, "give `label_smoothing` to the loss"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(FreelightError, match=reason):
        Mix(**settings)


def test_equal_settings_have_equal_states() -> None:
    assert repr(Mix(mixup_alpha=1, prob=np.float32(1))) == repr(Mix(mixup_alpha=1.0))


def test_what_cannot_be_mixed_is_refused(dataset: Dataset) -> None:
    plain = Transform(crop=RandomCrop(size=24), mean="none", lighting=Lighting(mode="off"), dtype="uint8")
    for settings, reason in (
        ({"transform": plain, "mix": Mix(mixup_alpha=1.0)}, "Mixup averages images.*dtype='float32', not 'uint8'"),
        ({"mix": 0.2}, r"`mix` \(=0.2\) must be a Mix"),
    ):
        with pytest.raises(FreelightError, match=reason):
            Loader(dataset, "train", batch_size=4, **settings)
    Loader(dataset, "train", batch_size=4, transform=plain, mix=Mix(cutmix_alpha=1.0)).close()
