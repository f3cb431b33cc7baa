"""Settings that differ by layer."""

from dataclasses import dataclass

from ...shards.base import check_fields


@dataclass(frozen=True, kw_only=True)
class ByLayer:
    """Numbers by parameter-name prefix; the longest match wins."""

    numbers: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    def of(self, parameter: str, default: float) -> float:
        """Return the number for a parameter (`conv1.weight`), or `default` if no prefix matches."""
        matches = [(len(prefix), number) for prefix, number in self.numbers if parameter.startswith(prefix)]
        return max(matches)[1] if matches else default

    def __str__(self) -> str:
        return ",".join(f"{prefix}:{number}" for prefix, number in self.numbers)

    @classmethod
    def parse(cls, text: str) -> "ByLayer":
        """Read `conv:0.1,fc8:2`; raises `ValueError`."""
        pairs = (part.partition(":") for part in text.split(",") if part)
        return cls(numbers=tuple((prefix, float(number)) for prefix, _, number in pairs))
