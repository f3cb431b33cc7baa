"""What is said about a recipe beside its settings: source, command, published errors, hardware. Text only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...shards.base import check_fields


@dataclass(frozen=True, kw_only=True)
class PublishedError:
    """An error that was published for a recipe.

    source: who published it. measured: on which images and views, and with how many networks. top1, top5: 0..1; None
    where it was not published.
    """

    source: str
    measured: str
    top1: float
    top5: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is said about a recipe; every part may be empty. None of it changes how a network is trained.

    summary: one sentence. command: trains with it. hardware: on which the published errors were measured. status:
    whether it was run for this project. note: about the published errors.
    """

    summary: str = ""
    command: str = ""
    published: tuple[PublishedError, ...] = ()
    note: str = ""
    hardware: str = ""
    status: str = ""

    def __post_init__(self) -> None:
        check_fields(self)

    def lines(self) -> list[str]:
        """Return the header as lines of text."""
        published = [f"{one.measured} ({one.source}): {_percent(one)}" for one in self.published]
        if published:
            published[0] += " error" if self.published[0].top5 is None else " top-1 / top-5 error"
        if self.note:
            published.append(self.note)
        lines = [self.summary] if self.summary else []
        for name, texts in (("command", [self.command]), ("published", published), ("hardware", [self.hardware])):
            starts = [f"{name}:", *[""] * len(texts)]
            lines += [f"{start:10} {text}" for start, text in zip(starts, texts, strict=False) if text]
        return [*lines, self.status] if self.status else lines

    @classmethod
    def fromdict(cls, values: Mapping[str, Any]) -> "Header":
        """Return the header that `dataclasses.asdict` turned into plain values."""
        return cls(**{**values, "published": tuple(PublishedError(**one) for one in values["published"])})


def _percent(error: PublishedError) -> str:
    if error.top5 is None:
        return f"{100 * error.top1:.3g} %"
    return f"{100 * error.top1:.1f} / {100 * error.top5:.1f} %"
