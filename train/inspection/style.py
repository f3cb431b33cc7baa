"""Sizes of drawings: one drawing code serves a wide page and a phone."""

from dataclasses import dataclass

from ...shards import FreelightError
from ...shards.base import check_fields


@dataclass(frozen=True, kw_only=True)
class Style:
    """pixels: maximum width of the drawing. text: height of a line of text, pixels."""

    pixels: int = 1280
    text: int = 15

    def __post_init__(self) -> None:
        check_fields(self)
        if not 280 <= self.pixels <= 10_000:
            raise FreelightError(f"`pixels` (={self.pixels}) must be in 280..10000")

    @property
    def margin(self) -> int:
        """Pixels around the drawing, and between neighbouring parts."""
        return self.text

    @property
    def inner(self) -> int:
        """Width within the margins, pixels."""
        return self.pixels - 2 * self.margin

    def across(self, least: int) -> int:
        """Return how many tiles of a width of at least `least` lines of text fit into a row."""
        return max(1, (self.inner + self.margin) // (least * self.text + self.margin))

    def side(self, across: int) -> int:
        """Return the width of a tile, `across` of them in a row, pixels."""
        return (self.inner - (across - 1) * self.margin) // across


WIDE = Style()
NARROW = Style(pixels=780, text=28)
"""For a phone's screen of 390 CSS pixels, which has two or three dots per pixel."""
