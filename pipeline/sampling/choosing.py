"""The plan that a loader's arguments ask for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...shards import Dataset, FreelightError, Mixture, Split
from ...shards.base import instance_of, whole_number
from ...shards.dataset import JoinedSplit
from ...shards.sources import ClassInfo
from .evenly import Evenly
from .plan import Once, Plan, Samples
from .subset import Subset, class_numbers
from .weighted import Weighted

MOST_ENTRIES = 2**31 - 1
Weights = Mapping[str, float] | Sequence[float] | npt.NDArray[np.floating]
"""Of each sample of the split; or of the samples of each class, by its id or name."""


def choose_plan(
    dataset: Dataset,
    split: Split,
    *,
    subset: Subset | None,
    weights: Weights | None,
    balanced: bool,
    num_samples: int | None,
) -> Plan:
    """Return the plan of a loader over `split`. Arguments as of `Loader`, which says what raises `FreelightError`."""
    classes = dataset.manifest.classes
    samples: Samples = np.arange(len(split), dtype=np.int32)
    if subset is not None:
        samples = instance_of(Subset, "subset", subset).samples(split, classes)
    if num_samples is not None:
        whole_number("num_samples", num_samples, least=1, most=MOST_ENTRIES)
    if isinstance(split, JoinedSplit) and isinstance(dataset, Mixture) and dataset.ratios is not None:
        if weights is not None or balanced:
            raise FreelightError("the ratios of a mixture say how often samples come; omit `weights` and `balanced`")
        return _mixed(dataset, split, samples, num_samples)
    if weights is None and not balanced:
        if num_samples is not None:
            raise FreelightError(
                "`num_samples` is the length of an epoch by `weights`, `balanced` or ratios; without them an epoch has "
                "each sample once, and `steps_per_epoch` divides it"
            )
        return Once(samples, len(split))
    if weights is not None and balanced:
        raise FreelightError("give `weights` or `balanced`, not both")
    if weights is not None:
        return Weighted(samples, _weights_of(weights, split, samples, classes), num_samples or len(samples))
    return _balanced(split, samples, num_samples)


def _weights_of(
    weights: Weights, split: Split, samples: Samples, classes: Sequence[ClassInfo]
) -> npt.NDArray[np.float64]:
    """Return the weights of `samples`. Raises `FreelightError` for one that is no finite number of at least 0."""
    if isinstance(weights, Mapping):
        given = np.full(len(classes) + 1, np.nan)  # the last is that of the label -1
        given[class_numbers(weights, classes)] = _as_floats(list(weights.values()), "class", list(weights))
        labels = split.samples["label"][samples]
        found: npt.NDArray[np.float64] = given[labels]
        if np.isnan(found).any():
            label = int(labels[np.isnan(found).argmax()])
            owner = f"the class {classes[label].id!r} ({classes[label].name})" if label >= 0 else "unlabelled samples"
            raise FreelightError(f"`weights` has none for {owner}; 0 leaves them out")
    else:
        given = _as_floats(weights, "sample", range(len(split)))
        if given.shape != (len(split),):
            raise FreelightError(
                f"`weights` must be a number for each of the {len(split)} samples of {split.name}, or a dict of them "
                "by class"
            )
        found = given[samples]
    with np.errstate(over="ignore"):
        total = found.sum()
    if not 0 < total < np.inf:
        raise FreelightError(f"`weights`: the sum over the samples (={total:g}) must be positive and finite")
    return found


def _as_floats(weights: Any, of: str, names: Sequence[object]) -> npt.NDArray[np.float64]:
    """Return weights as floats. of, names: what they belong to."""
    try:
        values = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        raise FreelightError(f"`weights` must be numbers, one for each {of}") from None
    is_bad = ~((values >= 0) & np.isfinite(values))
    if is_bad.any() and values.shape == (len(names),):
        place = int(is_bad.argmax())
        raise FreelightError(f"`weights`: that of {of} {names[place]} (={values[place]:g}) must be finite, at least 0")
    return values


def _balanced(split: Split, samples: Samples, num_samples: int | None) -> Plan:
    """Return the plan in which all classes of `samples` come equally often."""
    labels = split.samples["label"][samples]
    if labels.min() < 0:
        raise FreelightError(f"`balanced` needs labels, and not all samples of {split.name} have one")
    by_class = samples[labels.argsort(kind="stable")]
    sizes = np.unique(labels, return_counts=True)[1]
    each, more = divmod(num_samples or len(samples) // len(sizes) * len(sizes), len(sizes))
    if not each:
        raise FreelightError(f"`num_samples` (={num_samples}) must be at least {len(sizes)}, the number of classes")
    counts = [each + (place < more) for place in range(len(sizes))]
    return Evenly(np.split(by_class, sizes.cumsum()[:-1]), counts)


def _mixed(dataset: Mixture, split: JoinedSplit, samples: Samples, num_samples: int | None) -> Plan:
    """Return the plan in which the parts of a mixture come by its ratios."""
    groups = np.split(samples, np.searchsorted(samples, split.firsts[1:-1]))
    for part, group in zip(dataset.parts, groups, strict=True):
        if not len(group):
            raise FreelightError(f"no sample of {part.place} is left for the mixture; omit it")
    assert dataset.ratios is not None
    length = num_samples or len(samples)
    shares = np.array(dataset.ratios) / sum(dataset.ratios) * length
    counts = shares.astype(np.int64)
    counts[np.argsort(counts - shares, kind="stable")[: length - counts.sum()]] += 1  # the largest remainders
    for part, count in zip(dataset.parts, counts.tolist(), strict=True):
        if not count:
            raise FreelightError(f"{part.place} has no sample in an epoch of {length}; give a larger `num_samples`")
    return Evenly(groups, counts.tolist())
