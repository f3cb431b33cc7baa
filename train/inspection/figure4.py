"""The paper's Figure 4: pictures with their predicted classes (left), and query pictures with similar ones (right)."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ...pipeline.pictures import FAINT, INK, PAPER, below, beside, framed, text_box, tile
from ..evaluation.picture_files import PicturePrediction
from .gallery import SimilarImages
from .style import Style

RIGHT, WRONG = (200, 40, 40), (120, 150, 200)
"""Bar colours, RGB: the paper's red for the correct class, blue for the others."""


def draw_predictions(predictions: Sequence[PicturePrediction], names: Mapping[str, str], style: Style) -> Image.Image:
    """Draw pictures, each with its class and a bar for each of its most probable classes (Figure 4, left).

    names: by class id. A bar is as long as the probability; the true class has a red one, and a legend says so.
    """
    rows = -(-len(predictions) // style.across(12))
    across = -(-len(predictions) // rows)  # rows of equal length
    side = min(style.side(across), 24 * style.text)
    cells = [_prediction(prediction, names, side, style) for prediction in predictions]
    lines = [beside(cells[first : first + across], style.margin) for first in range(0, len(cells), across)]
    return framed(below([_legend(predictions, style), *lines], 2 * style.margin), style.margin)


def _legend(predictions: Sequence[PicturePrediction], style: Style) -> Image.Image:
    """Draw what the bars mean: of pictures whose class is known, the colours too."""
    known = any(prediction.true_class is not None for prediction in predictions)
    meanings = [(WRONG, "probability of a class")]
    if known:
        meanings = [(RIGHT, "probability of the correct class"), (WRONG, "of another class")]
    side = style.text
    keys = [
        beside([Image.new("RGB", (side, side), colour), text_box(meaning, style.text)], side // 2, middle=True)
        for colour, meaning in meanings
    ]
    line = beside(keys, 2 * side)
    return line if line.width <= style.inner else below(keys, 0)


def draw_similar(found: Sequence[SimilarImages], style: Style) -> Image.Image:
    """Draw each query beside the images nearest to it (Figure 4, right)."""
    least = 5.5  # width of a tile, lines of text
    most = max(len(similar.nearest) for similar in found)
    gap = max(2, style.margin // 3)
    fits = int((style.inner - style.margin + gap) // (least * style.text + gap)) - 1
    across = min(most, max(2, fits if fits >= most else -(-most // 2)))  # one row, or two rows of equal length
    side = min((style.inner - style.margin - gap * (across - 1)) // (across + 1), 12 * style.text)
    drawn = []
    for similar in found:
        tiles = [_captioned(picture.pixels, picture.caption, side, style) for picture in similar.nearest]
        lines = [beside(tiles[first : first + across], gap) for first in range(0, len(tiles), across)]
        query = _captioned(similar.query.pixels, similar.query.caption, side, style)
        drawn.append(beside([query, below(lines, gap)], style.margin))
    heads = beside([text_box("query", style.text, width=side), text_box("nearest images", style.text)], style.margin)
    return framed(below([heads, *drawn], style.margin), style.margin)


def _captioned(pixels: npt.NDArray[np.uint8], caption: str, side: int, style: Style) -> Image.Image:
    lines = "\n".join(_shortened(line, side, style) for line in caption.split("\n"))
    return below([tile(pixels, side), text_box(lines, style.text, width=side)], 3)


def _prediction(prediction: PicturePrediction, names: Mapping[str, str], side: int, style: Style) -> Image.Image:
    true_class = prediction.true_class
    label = prediction.source if true_class is None else names[true_class]
    title = Style(pixels=style.pixels, text=round(1.2 * style.text))
    caption = text_box(_shortened(label, side, title), title.text, width=side)
    bars = [
        _bar(top.name, top.probability, RIGHT if top.class_id == true_class else WRONG, side, style)
        for top in prediction.top_classes
    ]
    return below(
        [tile(prediction.pixels, side), caption, below(bars, max(2, style.text // 5))], max(3, style.text // 3)
    )


def _bar(name: str, probability: float, colour: tuple[int, int, int], side: int, style: Style) -> Image.Image:
    """Draw a class's name and probability above a bar of that length."""
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
    """Return `text` if it fits into `room` pixels; else the file name of a path, or the first of a class's names."""
    if text_box(text, style.text).width <= room:
        return text
    return text.rsplit("/", 1)[-1] if "/" in text else text.split(",")[0]
