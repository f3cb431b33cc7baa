"""What `evaluate` reports: the errors of each network, of their average and of each class; as text or as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...shards import Dataset
from ...shards.base import counted
from ...shards.sources import ClassInfo
from .ensembles import Ensemble, Weights, format_weights
from .launching import EvaluationConfig
from .passes import RankPass
from .scoring import (
    ClassScore,
    Confusion,
    Score,
    class_table,
    rank_labels,
    score,
    score_classes,
    worst_confusions,
)

CONFUSIONS = 10
"""How many pairs of confused classes are listed."""

REORDERED = "the dataset's classes are in another order than the checkpoint's; labels were matched by class id"


@dataclass(frozen=True, kw_only=True)
class NetworkSummary:
    """One network. score: None if the split has no labels. reordered: the labels were matched by class id."""

    name: str
    score: Score | None
    images_per_second: float
    reordered: bool

    def asdict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        rest = {"images_per_second": self.images_per_second, "reordered": self.reordered}
        return {"name": self.name, **_score_values(self.score), **rest}


@dataclass(frozen=True, kw_only=True, eq=False)
class AverageSummary:
    """The average of the networks. origin: how the weights were chosen. score: None if the split has no labels."""

    weights: Weights
    origin: str
    score: Score | None

    def asdict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**_score_values(self.score), "weights": self.weights.tolist(), "origin": self.origin}


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationSummary:
    """Errors on a split. average: None for a single network. classes, confusions: None unless asked for.

    class_infos: the dataset's classes, in label order. threads: of the processes that measured; None if none did.
    """

    split: str
    views: int
    images: int
    networks: tuple[NetworkSummary, ...]
    average: AverageSummary | None
    class_infos: Sequence[ClassInfo]
    threads: str | None = None
    classes: tuple[ClassScore, ...] | None = None
    confusions: tuple[Confusion, ...] | None = None

    def asdict(self) -> dict[str, Any]:
        """Return plain values, for JSON: errors 0..1, loss in nats; null where there is nothing to report.

        Keys: split, views, images, threads; networks, a list of name, top1, top5, loss, images_per_second, reordered;
        average, with top1, top5, loss, weights, origin; with class errors also classes, a list of id, name, images,
        top1, top5, worst, and confusions, a list of class, predicted (ids), count, images.
        """
        values: dict[str, Any] = {
            "split": self.split,
            "views": self.views,
            "images": self.images,
            "threads": self.threads,
            "networks": [network.asdict() for network in self.networks],
            "average": None if self.average is None else self.average.asdict(),
        }
        if self.classes is not None:
            values["classes"] = [self._class_values(scored) for scored in self.classes]
        if self.confusions is not None:
            values["confusions"] = [self._confusion_values(confusion) for confusion in self.confusions]
        return values

    def lines(self) -> Iterator[str]:
        """Yield the lines of text."""
        classes = len(self.class_infos)
        measured = f"{counted(self.images, 'image')} of {self.split}, {counted(self.views, 'view')}"
        for network in self.networks:
            name = f"{network.name}: " if len(self.networks) > 1 else ""
            if network.reordered:
                yield f"{name}{REORDERED}"
            errors = "no labels, so no errors" if network.score is None else network.score.describe(classes)
            yield f"{name}{measured}: {errors}, {network.images_per_second:.1f} images/s"
        if self.average is not None:
            yield from self._average_lines(self.average, measured)
        if self.classes is not None:
            names = [info.name for info in self.class_infos]
            yield ""
            yield class_table(self.classes, names)
            yield ""
            for pair in self.confusions or ():
                yield f"{names[pair.label]} taken for {names[pair.predicted]}: {pair.count} of {pair.images}"

    def _average_lines(self, average: AverageSummary, measured: str) -> Iterator[str]:
        weights = format_weights(average.weights)
        head = f"average of {len(self.networks)} networks, weights {weights} ({average.origin})"
        if average.score is None:
            yield head
            return
        yield f"{head}: {measured}: {average.score.describe(len(self.class_infos))}"
        mean = float(np.mean([network.score.errors.top1 for network in self.networks if network.score is not None]))
        lower = average.score.errors.top1 < mean
        yield f"the average's top-1 error is {'' if lower else 'not '}lower than the networks' mean, {mean:.2%}"

    def _class_values(self, scored: ClassScore) -> dict[str, Any]:
        info, errors = self.class_infos[scored.label], scored.errors
        return {
            "id": info.id,
            "name": info.name,
            "images": errors.images,
            "top1": errors.top1,
            "top5": errors.top5,
            "worst": None if scored.worst is None else self._confusion_values(scored.worst),
        }

    def _confusion_values(self, confusion: Confusion) -> dict[str, Any]:
        return {
            "class": self.class_infos[confusion.label].id,
            "predicted": self.class_infos[confusion.predicted].id,
            "count": confusion.count,
            "images": confusion.images,
        }


def summarize(
    config: EvaluationConfig,
    dataset: Dataset,
    names: Sequence[str],
    passes: Sequence[RankPass],
    ensemble: Ensemble | None,
    *,
    per_class: bool,
) -> EvaluationSummary:
    """Count the errors of each pass, and of the networks' average if there are several.

    names: of the networks, one per pass. per_class: also count each class's errors, of the average if there is one.
    """
    images = dataset.manifest.splits[config.split].samples
    networks = [
        NetworkSummary(
            name=name,
            score=None if result.ranked is None else score(result.ranked),
            images_per_second=images / result.seconds,
            reordered=result.reordered,
        )
        for name, result in zip(names, passes, strict=True)
    ]
    ranked, average = passes[0].ranked, None
    if ensemble is not None and len(passes) > 1:
        if ranked is not None:
            ranked = rank_labels(ensemble.probabilities, ranked.labels)
        average = AverageSummary(
            weights=ensemble.weights, origin=ensemble.origin, score=None if ranked is None else score(ranked)
        )
    by_class = per_class and ranked is not None
    return EvaluationSummary(
        split=config.split,
        views=config.views,
        images=images,
        networks=tuple(networks),
        average=average,
        class_infos=dataset.manifest.classes,
        threads=config.processes.threads if config.checkpoints else None,
        classes=tuple(score_classes(ranked)) if by_class and ranked is not None else None,
        confusions=tuple(worst_confusions(ranked, CONFUSIONS)) if by_class and ranked is not None else None,
    )


def _score_values(score: Score | None) -> dict[str, float | None]:
    if score is None:
        return {"top1": None, "top5": None, "loss": None}
    return {"top1": score.errors.top1, "top5": score.errors.top5, "loss": score.loss}
