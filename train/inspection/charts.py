"""Charts drawn by Pillow: a run's curves over the epochs, and the error of each class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...pipeline.pictures import FAINT, INK, PAPER, below, framed, text_box
from ..evaluation.scoring import ClassScore
from ..metrics import RunMetrics
from .style import Style

COLOURS = ((200, 40, 40), (50, 100, 190), (40, 140, 80), (150, 80, 170))
GRID = (225, 225, 225)
Points = Sequence[tuple[float, float]]
POINTS = 500
"""Maximum number of points in a line; a longer series is averaged down to this number."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a chart. points: (x, y) pairs."""

    name: str
    points: Points


def training_curves(metrics: RunMetrics, style: Style, *, with_top5: bool = True) -> Image.Image:
    """Draw a run's training loss, errors (with the top-5 error or without) and learning rate over its epochs."""
    steps, epochs = metrics.steps, metrics.epochs
    per_epoch = max((line.step / (line.epoch + 1) for line in epochs), default=0.0) or 1.0

    def over_steps(key: str) -> list[tuple[float, float]]:
        return [(line.step / per_epoch, getattr(line, key)) for line in steps]

    def over_epochs(key: str) -> list[tuple[float, float]]:
        return [(line.step / per_epoch, getattr(line, key)) for line in epochs]

    def percent(points: Points) -> Points:
        return _thinned([(x, 100 * y) for x, y in points])

    errors = [
        Series(name="val top-1, centre view", points=percent(over_epochs("val_top1"))),
        *([Series(name="val top-5", points=percent(over_epochs("val_top5")))] if with_top5 else []),
        Series(name="training top-1, with dropout and random crops", points=percent(over_steps("train_top1"))),
    ]
    charts = [
        line_chart("training loss (nats)", [Series(name="loss", points=_thinned(over_steps("loss")))], style),
        line_chart("error (%)", errors, style),
        line_chart(
            "learning rate of the weights",
            [Series(name="rate", points=_thinned([point for point in over_steps("learning_rate") if point[1] > 0]))],
            style,
            aspect=0.2,
            logarithmic=True,
        ),
    ]
    return framed(below(charts, 2 * style.margin), style.margin)


def line_chart(
    title: str, series: Sequence[Series], style: Style, *, aspect: float = 0.3, logarithmic: bool = False
) -> Image.Image:
    """Draw lines over epochs. aspect: height / width; the height is at least nine lines of text.

    The vertical axis includes 0, or is logarithmic, for positive values.
    """
    drawn = [line for line in series if len(line.points)]
    head = [text_box(title, round(1.1 * style.text), width=style.inner)]
    if not drawn:
        return below([*head, text_box("no measurements", style.text, colour=FAINT)], style.text // 2)
    points = np.array([point for line in drawn for point in line.points], float)
    right = max(float(points[:, 0].max()), 1e-9)
    if logarithmic:
        points[:, 1] = np.log10(points[:, 1])
    low, high = float(points[:, 1].min()), float(points[:, 1].max())
    ticks = decades(low, high) if logarithmic else _ticks(min(0.0, low), high)
    font = ImageFont.load_default(style.text)
    labels = [f"{10.0**tick if logarithmic else tick:g}" for tick in ticks]
    left = max(int(font.getlength(label)) for label in labels) + style.text
    height = max(round(aspect * style.inner), 9 * style.text)
    plot = Image.new("RGB", (style.inner, height + 3 * style.text), PAPER)
    draw = ImageDraw.Draw(plot)
    top, bottom, end = style.text // 2 + 1, height, style.inner - style.text
    bottom_value, top_value = ticks[0], ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + x / right * (end - left)
        return across, bottom - (y - bottom_value) / (top_value - bottom_value) * (bottom - top)

    for tick, label in zip(ticks, labels, strict=True):
        y = place(0, tick)[1]
        draw.line([(left, y), (end, y)], fill=GRID, width=max(1, style.text // 15))
        draw.text((left - style.text // 2, y), label, fill=FAINT, font=font, anchor="rm")
    for tick in _ticks(0, right, most=max(3, style.inner // (8 * style.text))):
        if tick <= right * 1.001:
            draw.text((place(tick, 0)[0], bottom + style.text), f"{tick:g}", fill=FAINT, font=font, anchor="mm")
    draw.text((end, bottom + 2.2 * style.text), "epochs", fill=FAINT, font=font, anchor="rm")
    for line, colour in zip(drawn, COLOURS, strict=False):
        places = [place(x, np.log10(y) if logarithmic else y) for x, y in line.points]
        draw.line(places, fill=colour, width=max(2, style.text // 7), joint="curve")
        if len(places) == 1:
            x, y = places[0]
            draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)
    legend = [
        text_box(line.name, style.text, colour=colour, width=style.inner)
        for line, colour in zip(drawn, COLOURS, strict=False)
        if len(series) > 1
    ]
    return below([*head, *legend, plot], style.text // 3)


def class_error_bars(
    scores: Sequence[ClassScore], names: Sequence[str], style: Style, *, limit: int = 40
) -> Image.Image:
    """Draw each class's top-1 error as a bar, the highest first, for at most `limit` classes. names: in label order."""
    ordered = sorted(scores, key=lambda scored: (-scored.errors.top1, scored.label))[:limit]
    title = f"top-1 error of each class{f', the worst {limit} of {len(scores)}' if len(scores) > limit else ''}"
    longest = max(max(scored.errors.top1 for scored in ordered), 0.01)
    room = min(round(0.3 * style.inner), 14 * style.text)
    rest = style.inner - room - 11 * style.text
    rows = []
    for scored in ordered:
        row = Image.new("RGB", (style.inner, round(1.5 * style.text)), PAPER)
        row.paste(text_box(names[scored.label].split(",")[0], style.text, colour=INK, width=room), (0, 0))
        length = round(rest * scored.errors.top1 / longest)
        top = style.text // 4
        if length:
            ImageDraw.Draw(row).rectangle(
                [room + style.text, top, room + style.text + length, top + style.text], fill=COLOURS[1]
            )
        value = f"{scored.errors.top1:.1%}, n = {scored.errors.images}"
        row.paste(text_box(value, style.text, colour=FAINT), (room + round(1.5 * style.text) + length, 0))
        rows.append(row)
    return framed(
        below([text_box(title, round(1.1 * style.text), width=style.inner), *rows], style.text // 4), style.margin
    )


def _thinned(points: Points) -> Points:
    """Return at most `POINTS` points, each the mean of a run of neighbours."""
    if len(points) <= POINTS:
        return points
    parts = (part.mean(axis=0).tolist() for part in np.array_split(np.array(points), POINTS))
    return [(x, y) for x, y in parts]


def decades(low: float, high: float, *, most: int = 6) -> list[float]:
    """Return whole exponents of ten that enclose `low` and `high`, about `most` of them."""
    first, last = int(np.floor(low + 1e-9)), int(np.ceil(high - 1e-9))
    first = min(first, last - 1)
    step = -(-(last - first) // most)
    return [float(exponent) for exponent in range(first, last + step, step)]


def _ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Return evenly spaced round numbers that enclose `low` and `high`, at most `most` of them between the ends."""
    span = high - low if high - low > 1e-6 else 1.0
    high = low + span
    raw = span / most
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]
