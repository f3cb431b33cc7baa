"""The paper's Figure 4 as pictures: what a network takes images for, and which images it holds to be alike.

Sizes are in pixels of the picture; `Style` decides how many tiles fit beside one another, so that the same panel is
legible on a wide page and on a phone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ...pipeline.pictures.boxes import FAINT, INK, PAPER, below, beside, framed, text_box, tile
from ...shards import FreelightError
from ..evaluation.picture_files import PicturePrediction

RIGHT, WRONG = (200, 40, 40), (120, 150, 200)
"""Bars: the paper's red for the correct label, and blue for the others."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """width: of the picture, at most. text: height of a line of text. Both in pixels."""

    width: int = 1280
    text: int = 15

    def __post_init__(self) -> None:
        if not 280 <= self.width <= 10_000:
            raise FreelightError(f"--width (={self.width}) must lie in 280..10000 pixels")

    @property
    def margin(self) -> int:
        """Around the whole, and between what stands beside one another."""
        return self.text

    @property
    def inner(self) -> int:
        """The width within the margins."""
        return self.width - 2 * self.margin

    def across(self, least: int) -> int:
        """Return how many tiles fit in a row that are at least so many lines of text wide."""
        return max(1, (self.inner + self.margin) // (least * self.text + self.margin))

    def side(self, across: int) -> int:
        """Return how wide a tile is of so many in a row."""
        return (self.inner - (across - 1) * self.margin) // across


WIDE = Style()
NARROW = Style(width=780, text=28)
"""For a screen of 390 pixels that has two or three dots a pixel."""


def prediction_panel(predictions: Sequence[PicturePrediction], names: dict[str, str], style: Style) -> Image.Image:
    """Draw pictures, each with its label and bars of the most probable classes (Figure 4 left).

    names: of the class ids. The bar of the right class is red.
    """
    rows = -(-len(predictions) // style.across(12))
    across = -(-len(predictions) // rows)  # in rows of the same length
    side = min(style.side(across), 24 * style.text)
    cells = [_prediction(one, names, side, style) for one in predictions]
    return framed(_rows(cells, across, style), style.margin)


def neighbour_panel(
    rows: Sequence[tuple[tuple[npt.NDArray[np.uint8], str], Sequence[tuple[npt.NDArray[np.uint8], str]]]],
    style: Style,
) -> Image.Image:
    """Draw each query beside its nearest images (Figure 4 right).

    rows: of each, the query and its nearest: pixels uint8 (S, S, 3) and a caption.
    """
    least = 5.5
    most = max(len(nearest) for _, nearest in rows)
    gap = max(2, style.margin // 3)
    fits = int((style.inner - style.margin + gap) // (least * style.text + gap)) - 1
    across = min(most, max(2, fits if fits >= most else -(-most // 2)))  # in one row, or in two of the same length
    side = min((style.inner - style.margin - gap * (across - 1)) // (across + 1), 12 * style.text)
    drawn = []
    for (pixels, caption), nearest in rows:
        tiles = [_captioned(picture, text, side, style) for picture, text in nearest]
        lines = [beside(tiles[first : first + across], gap) for first in range(0, len(tiles), across)]
        drawn.append(beside([_captioned(pixels, caption, side, style), below(lines, gap)], style.margin))
    heads = beside([text_box("query", style.text, width=side), text_box("nearest images", style.text)], style.margin)
    return framed(below([heads, *drawn], style.margin), style.margin)


def _rows(cells: list[Image.Image], across: int, style: Style) -> Image.Image:
    rows = [beside(cells[first : first + across], style.margin) for first in range(0, len(cells), across)]
    return below(rows, 2 * style.margin)


def _captioned(pixels: npt.NDArray[np.uint8], caption: str, side: int, style: Style) -> Image.Image:
    lines = "\n".join(_shortened(line, side, style) for line in caption.split("\n"))
    return below([tile(pixels, side), text_box(lines, style.text, width=side)], 3)


def _prediction(one: PicturePrediction, names: dict[str, str], side: int, style: Style) -> Image.Image:
    label = one.source if one.true_class is None else names[one.true_class]
    title = Style(width=style.width, text=round(1.2 * style.text))
    caption = text_box(_shortened(label, side, title), title.text, width=side)
    bars = [
        _bar(top.name, top.probability, RIGHT if top.class_id == one.true_class else WRONG, side, style)
        for top in one.top_classes
    ]
    return below([tile(one.pixels, side), caption, below(bars, max(2, style.text // 5))], max(3, style.text // 3))


def _bar(name: str, probability: float, colour: tuple[int, int, int], side: int, style: Style) -> Image.Image:
    """Draw a class's name and probability over a bar as long as that is."""
    share = text_box(f"{probability:.0%}" if probability < 0.995 else "100%", style.text, colour=FAINT)
    head = Image.new("RGB", (side, share.height), PAPER)
    room = side - share.width - style.text // 2
    head.paste(text_box(_shortened(name, room, style), style.text, colour=INK, width=room), (0, 0))
    head.paste(share, (side - share.width, 0))
    height = max(4, style.text // 3)
    strip = Image.new("RGB", (side, height), (232, 232, 232))
    ImageDraw.Draw(strip).rectangle((0, 0, max(1, round(side * probability)) - 1, height - 1), fill=colour)
    return below([head, strip], 0)


def _shortened(text: str, room: int, style: Style) -> str:
    """Return the end of a path, or the first of a class's names, where all of it does not fit."""
    fits = text_box(text, style.text).width <= room
    if fits:
        return text
    return text.rsplit("/", 1)[-1] if "/" in text else text.split(",")[0]
