"""Settings as text, for people; `repr` is for loader states."""

import dataclasses
from collections.abc import Iterable
from typing import Any

StepText = tuple[str, tuple[str, ...]]
"""What a step of a transform is called, and its settings."""


def settings_of(owner: Any) -> tuple[str, ...]:
    """Return the settings of a dataclass as short texts, without those that are None."""
    values = {spec.name: getattr(owner, spec.name) for spec in dataclasses.fields(owner)}
    return tuple(f"{name}={short(value)}" for name, value in values.items() if value is not None)


def short(value: Any) -> str:
    """Return a setting's value as a short text."""
    if isinstance(value, tuple):
        return f"({', '.join(map(short, value))})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def numbered(steps: Iterable[StepText]) -> str:
    """Return one line per step: number, title and settings."""
    lines = list(steps)
    width = max(len(title) for title, _ in lines)
    return "\n".join(
        f"{number:2}  {title:{width}}  {', '.join(settings)}".rstrip()
        for number, (title, settings) in enumerate(lines, 1)
    )
