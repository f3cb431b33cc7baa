"""Errors of labelled images from class probabilities: of all images, of each class, and the classes confused most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ...shards.base import format_table
from ..evaluator import Errors, count_errors, has_top5, label_ranks

Probabilities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedLabels:
    """All that error counts need of the class probabilities of n labelled images; each array has the shape (n,).

    labels: int64. ranks: int64, how many classes are more probable than the label. predicted: int64, the most probable
    class; -1 where the probabilities are NaN. label_probabilities: float32, 0..1, the label's probability.
    """

    labels: Labels
    ranks: Labels
    predicted: Labels
    label_probabilities: Probabilities


@dataclass(frozen=True, kw_only=True)
class Score:
    """errors: of all images. loss: mean cross-entropy -log p(label), nats."""

    errors: Errors
    loss: float

    def describe(self, classes: int) -> str:
        """Return the errors as text, the top-5 error only among more than five classes."""
        top5 = f", top-5 error {self.errors.top5:.2%}" if has_top5(classes) else ""
        return f"top-1 error {self.errors.top1:.2%}{top5}, loss {self.loss:.3f}"


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """`count` of the `images` of class `label` were predicted as class `predicted`."""

    label: int
    predicted: int
    count: int
    images: int


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class's errors. worst: the class most often predicted in its place; None if no prediction was wrong."""

    label: int
    errors: Errors
    worst: Confusion | None


def rank_labels(probabilities: Probabilities, labels: Labels) -> RankedLabels:
    """Rank the labels (n,) by class probabilities (n, classes); ties go to the lower label."""
    ranks = label_ranks(torch.from_numpy(probabilities), torch.from_numpy(labels)).numpy()
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    predicted = np.where(np.isnan(own), -1, probabilities.argmax(axis=1))
    return RankedLabels(labels=labels, ranks=ranks, predicted=predicted, label_probabilities=own)


def score(ranked: RankedLabels) -> Score:
    """Return errors and loss over all images. A probability of 0 counts as the smallest positive float32."""
    probabilities = np.maximum(ranked.label_probabilities.astype(np.float64), np.finfo(np.float32).tiny)
    return Score(errors=_errors(ranked.ranks), loss=float(-np.log(probabilities).mean()))


def score_classes(ranked: RankedLabels) -> list[ClassScore]:
    """Return the errors of each class that has images, in label order."""
    scores = []
    for label in np.unique(ranked.labels).tolist():
        in_class = ranked.labels == label
        wrong = ranked.predicted[in_class & (ranked.ranks > 0) & (ranked.predicted >= 0)]
        counts, images = np.bincount(wrong, minlength=1), int(in_class.sum())
        worst = Confusion(label=label, predicted=int(counts.argmax()), count=int(counts.max()), images=images)
        errors = _errors(ranked.ranks[in_class])
        scores.append(ClassScore(label=label, errors=errors, worst=worst if len(wrong) else None))
    return scores


def worst_confusions(ranked: RankedLabels, limit: int) -> list[Confusion]:
    """Return at most `limit` confusions, those of the most images first; ties go to the lower labels."""
    labels, predicted = ranked.labels, ranked.predicted
    wrong = (labels != predicted) & (predicted >= 0)
    classes = max(labels.max(), predicted.max()) + 1
    pairs, counts = np.unique(labels[wrong] * classes + predicted[wrong], return_counts=True)
    images = np.bincount(labels)
    return [
        Confusion(
            label=int(pairs[index] // classes),
            predicted=int(pairs[index] % classes),
            count=int(counts[index]),
            images=int(images[pairs[index] // classes]),
        )
        for index in np.argsort(-counts, kind="stable")[:limit]
    ]


def class_table(scores: Sequence[ClassScore], names: Sequence[str]) -> str:
    """Return a text table, one class per row, the highest error first. names: of the classes, in label order."""
    rows, columns = [], ["class", "images", "top-1 error", "top-5 error", "most often taken for"]
    for row in sorted(scores, key=lambda row: (-row.errors.top1, -row.errors.top5, row.label)):
        worst = "" if row.worst is None else f"{names[row.worst.predicted]} ({row.worst.count})"
        errors = row.errors
        rows.append([names[row.label], str(errors.images), f"{errors.top1:.1%}", f"{errors.top5:.1%}", worst])
    if not has_top5(len(names)):
        for cells in (columns, *rows):
            del cells[3]
    return format_table(columns, rows)


def _errors(ranks: Labels) -> Errors:
    return Errors(len(ranks), *count_errors(torch.from_numpy(ranks)).tolist())
