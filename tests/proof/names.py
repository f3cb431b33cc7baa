"""Names that differ between revisions: the only part of the proof that may change when the code is renamed.

Every table lists the newest name first and ends with that of revision 2ff501f.
"""

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

MODULES = {
    "Dataset": ["freelight.shards"],
    "Statistics": ["freelight.shards"],
    "CenterCrop": ["freelight.pipeline"],
    "Lighting": ["freelight.pipeline"],
    "Loader": ["freelight.pipeline"],
    "RandomCrop": ["freelight.pipeline"],
    "RandomResizedCrop": ["freelight.pipeline"],
    "TenCrop": ["freelight.pipeline"],
    "Transform": ["freelight.pipeline"],
}
COMMAND_MODULES = {"train": ["freelight.train"]}
METRICS = ["step", "epoch", "position", "loss", "train_top1", "gradient_norm", "weight_norm", "val_top1", "val_top5"]
"""Metrics that are not times. Those that begin with `learning_rate` or `bias_learning_rate` count too."""


def find(name: str) -> Any:
    """Return the class `name` from the first module that has it."""
    for module in MODULES[name]:
        if found := getattr(importlib.import_module(module), name, None):
            return found
    raise ImportError(f"{name} is in none of {', '.join(MODULES[name])}: add its new place to {__file__}")


def loader(*words: Any, **settings: Any) -> Any:
    """Return a loader whose batches are (images, labels, samples); the settings are those of the newest revision."""
    made = find("Loader")
    known = inspect.signature(made).parameters
    if "extras" in known:
        settings["extras"] = ("samples",)
    elif "last" in settings:
        settings["drop_last"] = settings.pop("last") == "drop"
    return made(*words, **settings)


def root() -> Path:
    """Return the folder of the revision that is installed (editable): the one with `tools/`."""
    package = Path(importlib.import_module("freelight.shards").__file__ or "")
    return next(folder for folder in package.parents if (folder / "tools").is_dir())


def command(name: str) -> list[str]:
    """Return the words that start a command, in this Python."""
    for module in COMMAND_MODULES.get(name, []):
        if importlib.util.find_spec(f"{module}.__main__"):
            return [sys.executable, "-m", module]
    return [sys.executable, str(root() / "tools" / name)]


def is_compared(metric: str) -> bool:
    """Tell whether a metric must be the same on every run."""
    return metric in METRICS or metric.startswith(("learning_rate", "bias_learning_rate"))
