"""What `evaluate` says: each network's errors, those of their average, and of each class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...shards import Dataset, FreelightError
from .ensembles import average, equal_weights, format_weights, read_weights, search_weights
from .predictions import JudgedPass, PassConfig, Predictions
from .scoring import Answers, class_table, judge, score, score_classes, worst_confusions

CONFUSIONS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """Networks' average: probabilities float32 (n, classes), the weights (networks,), and how those came about."""

    probabilities: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float64]
    origin: str


def given_weights(text: str | None, *, search: bool, networks: int) -> npt.NDArray[np.float64] | None:
    """Return the weights (networks,) of the text, if there is one. Raises `FreelightError` where they do not fit."""
    if not networks:
        raise FreelightError("there is no network; name some with --checkpoint, or their predictions with --from")
    if text is not None and search:
        raise FreelightError("--weights and --search-weights exclude each other; give one of them")
    return None if text is None else read_weights(text, networks)


def mix(found: Predictions, weights: npt.NDArray[np.float64] | None, *, search: bool) -> Mixture:
    """Average the networks with the weights (networks,) that are given, or searched ones, or equal ones."""
    if weights is not None:
        chosen, origin = weights, "as given"
    elif search:
        chosen, origin = search_weights(found.probabilities, found.labels), "SEARCHED ON THESE VERY LABELS: optimistic"
    else:
        chosen, origin = equal_weights(len(found.names)), "equal"
    return Mixture(probabilities=average(found.probabilities, chosen), weights=chosen, origin=origin)


def describe_errors(
    config: PassConfig,
    dataset: Dataset,
    names: Sequence[str],
    passes: Sequence[JudgedPass],
    mixed: Mixture | None,
    *,
    per_class: bool,
) -> Iterator[str]:
    """Yield the lines: what each network and their average came to; with `per_class`, what each class did.

    names: of the networks, one a pass. mixed: their average, if there is one.
    """
    images = dataset.manifest.splits[config.split].samples
    what = f"{images} images of {config.split}, {config.views} view{'s' if config.views > 1 else ''}"
    tops = []
    for name, found in zip(names, passes, strict=True):
        which = f"{name}: " if len(passes) > 1 else ""
        if found.reordered:
            yield (
                f"{which}the dataset's classes are in another order than the checkpoint's; "
                "labels were matched by class id"
            )
        said = "no labels, so no errors"
        if found.answers is not None:
            scored = score(found.answers)
            tops.append(scored.errors.top1)
            said = str(scored)
        yield f"{which}{what}: {said}, {images / found.seconds:.1f} images/s"
    answers = passes[0].answers
    if mixed is not None and len(passes) > 1:
        weights = f"average of {len(names)} networks, weights {format_weights(mixed.weights)} ({mixed.origin})"
        if answers is None:
            yield weights
        else:
            answers = judge(mixed.probabilities, answers.labels)
            scored, mean = score(answers), float(np.mean(tops))
            yield f"{weights}: {what}: {scored}"
            better = scored.errors.top1 < mean
            yield f"the average's top-1 error is {'' if better else 'not '}lower than the networks' mean, {mean:.2%}"
    if answers is not None and per_class:
        yield from _describe_classes(answers, dataset)


def _describe_classes(answers: Answers, dataset: Dataset) -> Iterator[str]:
    names = [info.name for info in dataset.manifest.classes]
    yield ""
    yield class_table(score_classes(answers), names)
    yield ""
    for one in worst_confusions(answers, CONFUSIONS):
        yield f"{names[one.label]} taken for {names[one.guess]}: {one.times} of {one.images}"
