"""From probabilities and labels to errors: of all images, of each class, and which classes are taken for which."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ...shards.base.console import columns
from ..evaluator import Errors, label_ranks

Probabilities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What errors need of a network's probabilities for labelled images, each (n,).

    labels: int64. ranks: int64, how many classes came before the label. guesses: int64, the class that came first; -1
    where the probabilities are not numbers. own: float32, the probability of the label.
    """

    labels: Labels
    ranks: Labels
    guesses: Labels
    own: Probabilities


@dataclass(frozen=True, kw_only=True)
class Score:
    """errors: of all images. loss: the mean of -log p(label), nats."""

    errors: Errors
    loss: float

    def __str__(self) -> str:
        return f"top-1 error {self.errors.top1:.2%}, top-5 error {self.errors.top5:.2%}, loss {self.loss:.3f}"


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class's errors. mistaken_for: the label it is most often taken for, and how often; None: never wrong."""

    label: int
    errors: Errors
    mistaken_for: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """So many images of the class `label` were taken for `guess`, of `images` in all."""

    label: int
    guess: int
    times: int
    images: int


def judge(probabilities: Probabilities, labels: Labels) -> Answers:
    """Judge (n, classes) probabilities for labels (n,)."""
    ranks = label_ranks(torch.from_numpy(probabilities), torch.from_numpy(labels)).numpy()
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    guesses = np.where(np.isnan(own), -1, probabilities.argmax(axis=1))
    return Answers(labels=labels, ranks=ranks, guesses=guesses, own=own)


def score(answers: Answers) -> Score:
    """Return errors and loss."""
    loss = -np.log(np.maximum(answers.own.astype(np.float64), np.finfo(np.float32).tiny)).mean()
    return Score(errors=_errors(answers.ranks), loss=float(loss))


def score_classes(answers: Answers) -> list[ClassScore]:
    """Return the errors of each class that has images, in label order."""
    labels, ranks = answers.labels, answers.ranks
    scores = []
    for label in np.unique(labels).tolist():
        wrong = answers.guesses[(labels == label) & (ranks > 0) & (answers.guesses >= 0)]
        counts = np.bincount(wrong, minlength=1)
        mistaken = (int(counts.argmax()), int(counts.max())) if len(wrong) else None
        scores.append(ClassScore(label=label, errors=_errors(ranks[labels == label]), mistaken_for=mistaken))
    return scores


def worst_confusions(answers: Answers, most: int) -> list[Confusion]:
    """Return at most so many pairs of classes, those of which the most images were mistaken first."""
    labels, guesses = answers.labels, answers.guesses
    wrong = (labels != guesses) & (guesses >= 0)
    classes = max(labels.max(), guesses.max()) + 1
    pairs, times = np.unique(labels[wrong] * classes + guesses[wrong], return_counts=True)
    images = np.bincount(labels)
    return [
        Confusion(
            label=int(pairs[place] // classes),
            guess=int(pairs[place] % classes),
            times=int(times[place]),
            images=int(images[pairs[place] // classes]),
        )
        for place in np.argsort(-times, kind="stable")[:most]
    ]


def class_table(scores: Sequence[ClassScore], names: Sequence[str]) -> str:
    """Return one line a class, the worst first: images, errors, and what it is most often taken for."""
    rows = []
    for one in sorted(scores, key=lambda one: (-one.errors.top1, -one.errors.top5, one.label)):
        mistaken = "" if one.mistaken_for is None else f"{names[one.mistaken_for[0]]} ({one.mistaken_for[1]})"
        errors = one.errors
        rows.append((names[one.label], str(errors.images), f"{errors.top1:.1%}", f"{errors.top5:.1%}", mistaken))
    return columns(("class", "images", "top-1 error", "top-5 error", "most often taken for"), rows)


def _errors(ranks: npt.NDArray[np.int64]) -> Errors:
    return Errors(len(ranks), int((ranks >= 1).sum()), int((ranks >= 5).sum()))
