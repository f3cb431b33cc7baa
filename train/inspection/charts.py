"""Charts of a run: its curves over the epochs, and the error of each class. Drawn by Pillow, legible at any width."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...pipeline.pictures.boxes import FAINT, INK, PAPER, below, framed, text_box
from ..evaluation.scoring import ClassScore
from .panels import Style

COLOURS = ((200, 40, 40), (50, 100, 190), (40, 140, 80))
GRID = (225, 225, 225)
Points = Sequence[tuple[float, float]]
POINTS = 500  # of a line: more than that is noise to the eye


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line of a chart: points (x, y)."""

    name: str
    points: Points


def curves(metrics: Sequence[dict[str, Any]], style: Style) -> Image.Image:
    """Draw the loss, the errors and the learning rate of a run's lines of metrics, over its epochs."""
    steps = [line for line in metrics if "loss" in line]
    epochs = [line for line in metrics if "val_top1" in line]
    per_epoch = max((line["step"] / (line["epoch"] + 1) for line in epochs), default=0.0) or 1.0

    def over(lines: Sequence[dict[str, Any]], key: str, scale: float = 1.0) -> Points:
        return _thinned([(line["step"] / per_epoch, scale * line[key]) for line in lines if key in line])

    charts = [
        chart("training loss (nats)", [Series(name="loss", points=over(steps, "loss"))], style),
        chart(
            "error (%)",
            [
                Series(name="val top-1, centre view", points=over(epochs, "val_top1", 100)),
                Series(name="val top-5", points=over(epochs, "val_top5", 100)),
                Series(name="training top-1, dropout and random crops", points=over(steps, "train_top1", 100)),
            ],
            style,
        ),
        chart(
            "learning rate of weights, 10 to the power of",
            [Series(name="rate", points=[(x, float(np.log10(y))) for x, y in over(steps, "learning_rate") if y > 0])],
            style,
            share=0.2,
            from_zero=False,
        ),
    ]
    return framed(below(charts, 2 * style.margin), style.margin)


def chart(
    title: str, series: Sequence[Series], style: Style, *, share: float = 0.3, from_zero: bool = True
) -> Image.Image:
    """Draw lines over epochs. share: of the width that the height has, at least twelve lines of text."""
    drawn = [one for one in series if len(one.points)]
    head = [text_box(title, round(1.1 * style.text), width=style.inner)]
    if not drawn:
        return below([*head, text_box("nothing was measured", style.text, colour=FAINT)], style.text // 2)
    points = np.array([point for one in drawn for point in one.points], float)
    right = max(float(points[:, 0].max()), 1e-9)
    low, high = float(points[:, 1].min()), float(points[:, 1].max())
    ticks = _ticks(min(0.0, low) if from_zero else low, high)
    font = ImageFont.load_default(style.text)
    labels = [f"{tick:g}" for tick in ticks]
    left = max(int(font.getlength(label)) for label in labels) + style.text
    height = max(round(share * style.inner), 9 * style.text)
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
    for one, colour in zip(drawn, COLOURS, strict=False):
        line = [place(x, y) for x, y in one.points]
        draw.line(line, fill=colour, width=max(2, style.text // 7), joint="curve")
        if len(line) == 1:
            x, y = line[0]
            draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)
    legend = [
        text_box(one.name, style.text, colour=colour, width=style.inner)
        for one, colour in zip(drawn, COLOURS, strict=False)
        if len(series) > 1
    ]
    return below([*head, *legend, plot], style.text // 3)


def class_errors(scores: Sequence[ClassScore], names: Sequence[str], style: Style, *, most: int = 40) -> Image.Image:
    """Draw each class's top-1 error as a bar, the worst first; of many classes the worst `most` alone."""
    ordered = sorted(scores, key=lambda one: (-one.errors.top1, one.label))[:most]
    said = f"top-1 error of each class{f', the worst {most} of {len(scores)}' if len(scores) > most else ''}"
    longest = max(max(one.errors.top1 for one in ordered), 0.01)
    room = min(round(0.3 * style.inner), 14 * style.text)
    rest = style.inner - room - 11 * style.text
    rows = []
    for one in ordered:
        row = Image.new("RGB", (style.inner, round(1.5 * style.text)), PAPER)
        row.paste(text_box(names[one.label].split(",")[0], style.text, colour=INK, width=room), (0, 0))
        length = round(rest * one.errors.top1 / longest)
        top = style.text // 4
        if length:
            ImageDraw.Draw(row).rectangle(
                [room + style.text, top, room + style.text + length, top + style.text], fill=COLOURS[1]
            )
        value = f"{one.errors.top1:.1%}, n = {one.errors.images}"
        row.paste(text_box(value, style.text, colour=FAINT), (room + round(1.5 * style.text) + length, 0))
        rows.append(row)
    return framed(
        below([text_box(said, round(1.1 * style.text), width=style.inner), *rows], style.text // 4), style.margin
    )


def _thinned(points: Points) -> Points:
    """Return at most `POINTS` points, each the mean of as many that follow one another."""
    if len(points) <= POINTS:
        return points
    parts = (part.mean(axis=0).tolist() for part in np.array_split(np.array(points), POINTS))
    return [(x, y) for x, y in parts]


def _ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Return round numbers from at or below `low` to at or above `high`, so many at most but for the ends."""
    span = high - low if high - low > 1e-6 else 1.0
    high = low + span
    raw = span / most
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]
