"""The lines of a run's `metrics.jsonl`, typed. Its keys are the field names here, and are listed nowhere else."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..shards.base import Mismatch, anything, integer, mapping, must_be, number, record

LAYER_RATE = "learning_rate_"
"""A key that begins with this holds the learning rate of one layer: `learning_rate_conv1`."""


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """Training, measured over the steps since the line before.

    step: steps done. epoch: counted from 0. position: samples of the epoch that are done. learning_rate,
    bias_learning_rate: of the step. layer_rates: learning rates by layer, where they differ from `learning_rate`; 0 if
    the layer is frozen. loss: mean cross-entropy, nats. train_top1: error, 0..1, with dropout and random crops.
    images_per_second: over all processes; see `Meter`. images_per_second_without_wait: without the time spent
    waiting for data. wait_share: that time's share, 0..1.
    gradient_norm, weight_norm: Euclidean norms over the whole network, at the step.
    """

    step: int
    epoch: int
    position: int
    learning_rate: float
    bias_learning_rate: float
    layer_rates: Mapping[str, float] = field(default_factory=dict)
    loss: float
    train_top1: float
    images_per_second: float
    images_per_second_without_wait: float
    wait_share: float
    gradient_norm: float
    weight_norm: float

    def asdict(self) -> dict[str, Any]:
        """Return the line as `metrics.jsonl` holds it."""
        line: dict[str, Any] = {}
        for one in fields(self):
            if one.name == "layer_rates":
                line |= {f"{LAYER_RATE}{layer}": rate for layer, rate in self.layer_rates.items()}
            else:
                line[one.name] = getattr(self, one.name)
        return line

    @classmethod
    def fromdict(cls, line: Mapping[str, Any]) -> "StepMetrics":
        """Return the metrics of a line; keys of later versions are ignored. Raises `KeyError` for a missing one."""
        rates = {key.removeprefix(LAYER_RATE): rate for key, rate in line.items() if key.startswith(LAYER_RATE)}
        names = (one.name for one in fields(cls) if one.name != "layer_rates")
        return cls(layer_rates=rates, **{name: line[name] for name in names})


@dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """Validation after an epoch. step: steps done. epoch: counted from 0. val_top1, val_top5: errors, 0..1."""

    step: int
    epoch: int
    val_top1: float
    val_top5: float

    def asdict(self) -> dict[str, Any]:
        """Return the line as `metrics.jsonl` holds it."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def fromdict(cls, line: Mapping[str, Any]) -> "EpochMetrics":
        """Return the metrics of a line; keys of later versions are ignored. Raises `KeyError` for a missing one."""
        return cls(**{one.name: line[one.name] for one in fields(cls)})


def any_number(value: object, field: str) -> None:
    """Accept a number that may be infinite or NaN: norms of gradients overflow."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise must_be(value, field, "a number")


SHARE = number(least=0, most=1)
POSITIVE = number(least=sys.float_info.min)
STEP = record(
    {
        **dict.fromkeys(("step", "position"), integer(least=1)),
        "epoch": integer(),
        **dict.fromkeys(("learning_rate", "bias_learning_rate"), number(least=0)),
        "loss": number(),
        **dict.fromkeys(("images_per_second", "images_per_second_without_wait"), POSITIVE),
        **dict.fromkeys(("train_top1", "wait_share"), SHARE),
        **dict.fromkeys(("gradient_norm", "weight_norm"), any_number),
    },
    others=anything,
)
EPOCH = record(
    {**dict.fromkeys(("step", "epoch"), integer()), **dict.fromkeys(("val_top1", "val_top5"), SHARE)}, others=anything
)
LAYER_RATES = mapping(number(least=0))


def parse_line(text: bytes) -> StepMetrics | EpochMetrics:
    """Read one line of `metrics.jsonl`: an epoch's if it holds a validation error, else a step's.

    Keys of later versions are ignored. Raises `ValueError` for what is no JSON, and `Mismatch` for a wrong value.
    """
    try:
        line = json.loads(text)
    except RecursionError:
        raise Mismatch("the line is nested too deeply") from None
    if isinstance(line, dict) and "val_top1" in line:
        EPOCH(line, "")
        return EpochMetrics.fromdict(line)
    STEP(line, "")
    LAYER_RATES({key: rate for key, rate in line.items() if key.startswith(LAYER_RATE)}, "")
    return StepMetrics.fromdict(line)


@dataclass(frozen=True)
class RunMetrics:
    """All lines of a run, in the order written."""

    steps: tuple[StepMetrics, ...] = ()
    epochs: tuple[EpochMetrics, ...] = ()

    @classmethod
    def of(cls, lines: Iterable[StepMetrics | EpochMetrics]) -> "RunMetrics":
        """Sort lines by kind."""
        lines = list(lines)
        return cls(
            tuple(line for line in lines if isinstance(line, StepMetrics)),
            tuple(line for line in lines if isinstance(line, EpochMetrics)),
        )

    @property
    def best(self) -> EpochMetrics | None:
        """The first epoch with the lowest top-1 error; None before the first validation."""
        return min(self.epochs, key=lambda epoch: epoch.val_top1, default=None)
