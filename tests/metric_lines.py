"""Lines of metrics for tests that need some of their values."""

from typing import Any

from freelight.train import StepMetrics


def step_metrics(**values: Any) -> StepMetrics:
    """Return metrics of a step with `values`; the others are arbitrary."""
    arbitrary: dict[str, Any] = {
        "step": 1,
        "epoch": 0,
        "position": 16,
        "learning_rate": 0.01,
        "bias_learning_rate": 0.02,
        "loss": 2.0,
        "train_top1": 0.5,
        "images_per_second": 50.0,
        "images_per_second_without_wait": 51.0,
        "wait_share": 0.01,
        "gradient_norm": 1.0,
        "weight_norm": 9.0,
    }
    return StepMetrics(**{**arbitrary, **values})
