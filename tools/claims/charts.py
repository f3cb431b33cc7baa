"""The pictures of the claims, drawn by Pillow: errors over epochs, and groups of points."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from freelight.pipeline.sheet import FAINT, INK, PAPER, below, framed, text_box

WIDTH, HEIGHT, TEXT, MARGIN = 900, 460, 16, 24
COLOURS = ((200, 40, 40), (50, 100, 190), (40, 140, 80), (150, 90, 170))
GRID = (225, 225, 225)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a chart, from its points (x, y); dashed or not."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def lines_chart(title: str, lines: Sequence[Line], *, x: str, y: str, level: float | None = None) -> Image.Image:
    """Draw lines over x from 0, and y from 0. level: of a thin line across. x, y: what the axes are."""
    across = max(1e-9, *(point[0] for line in lines for point in line.points))
    up = max(1e-9, level or 0.0, *(point[1] for line in lines for point in line.points))
    axes = _Axes(across, up)
    for index, line in enumerate(lines):
        places = [axes.place(*point) for point in line.points]
        for start, end in itertools.pairwise(places):
            axes.stroke(start, end, COLOURS[index % len(COLOURS)], dashed=line.dashed)
    if level is not None:
        axes.draw.line([axes.place(0, level), axes.place(across, level)], fill=INK)
    names = [(line.name, COLOURS[index % len(COLOURS)], line.dashed) for index, line in enumerate(lines)]
    return _finish(title, axes, names, f"across: {x}; up: {y}")


def points_chart(title: str, groups: Mapping[str, Sequence[float]], *, y: str) -> Image.Image:
    """Draw the values of each group above its name, and their mean as a line."""
    axes = _Axes(len(groups), max(1e-9, *(value for values in groups.values() for value in values)), numbers=False)
    for index, values in enumerate(groups.values()):
        mean = sum(values) / len(values)
        axes.draw.line([axes.place(index + 0.25, mean), axes.place(index + 0.75, mean)], fill=INK, width=3)
        for value in values:
            left, top = axes.place(index + 0.5, value)
            axes.draw.ellipse([left - 5, top - 5, left + 5, top + 5], outline=COLOURS[index % len(COLOURS)], width=2)
    names = [
        (f"{name}: mean {sum(v) / len(v):.3g}", COLOURS[i % len(COLOURS)], False)
        for i, (name, v) in enumerate(groups.items())
    ]
    return _finish(title, axes, names, f"a circle a run, a bar their mean; up: {y}")


class _Axes:
    """A plot whose corner is (0, 0), with a grid; `place` turns values into pixels."""

    def __init__(self, across: float, up: float, *, numbers: bool = True) -> None:
        self.across, step = across, _step(up)
        self.up = math.ceil(up / step) * step
        self.image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(TEXT)
        for tick in range(round(self.up / step) + 1):
            left, top = self.place(0, tick * step)
            self.draw.line([(left, top), self.place(across, tick * step)], fill=GRID)
            self.draw.text((left - 8, top), f"{tick * step:g}", fill=FAINT, font=self.font, anchor="rm")
        for tick in range(math.floor(across / _step(across)) + 1) if numbers else ():
            left, top = self.place(tick * _step(across), 0)
            self.draw.text((left, top + 6), f"{tick * _step(across):g}", fill=FAINT, font=self.font, anchor="ma")

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a point."""
        return 60 + x / self.across * (WIDTH - 90), HEIGHT - 34 - y / self.up * (HEIGHT - 50)

    def stroke(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        colour: tuple[int, int, int],
        *,
        dashed: bool,
    ) -> None:
        """Draw a straight piece of a line; dashed: every other ten pixels of it."""
        pieces = max(1, round(math.dist(start, end) / 10)) if dashed else 1
        ends = [
            tuple(a + (b - a) * number / pieces for a, b in zip(start, end, strict=True))
            for number in range(pieces + 1)
        ]
        for one, two in list(itertools.pairwise(ends))[::2]:
            self.draw.line([*one, *two], fill=colour, width=3)


def _step(most: float) -> float:
    """Return a round distance of about five ticks up to `most`."""
    size = 10 ** math.floor(math.log10(most / 5))
    return float(next(size * factor for factor in (1, 2, 5, 10) if size * factor >= most / 5))


def _finish(title: str, axes: _Axes, names: Sequence[tuple[str, tuple[int, int, int], bool]], foot: str) -> Image.Image:
    legend = [text_box(f"{'- -' if dashed else '---'} {name}", TEXT, colour=colour) for name, colour, dashed in names]
    head = text_box(title, round(1.2 * TEXT), width=WIDTH)
    return framed(below([head, axes.image, text_box(foot, TEXT, colour=FAINT), *legend], TEXT // 2), MARGIN)
