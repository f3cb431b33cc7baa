"""A chart of groups of runs with one point per run, drawn with Pillow."""

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from freelight.pipeline.pictures import FAINT, INK, PAPER, below, framed, text_box
from freelight.train.inspection import COLOURS, GRID, WIDE, Style


def points_chart(
    title: str, groups: Mapping[str, Sequence[float]], *, y: str, style: Style = WIDE, share: float = 0.3
) -> Image.Image:
    """Draw the values of each group as circles and their mean as a bar, on an axis from 0. share: height / width.

    A group may be empty.
    """
    most = max((value for values in groups.values() for value in values), default=0.0) or 1.0
    step = _step(most)
    ticks = [step * number for number in range(math.ceil(most / step) + 1)]
    height, text = round(share * style.inner), style.text
    plot = Image.new("RGB", (style.inner, height + text), PAPER)
    draw, font = ImageDraw.Draw(plot), ImageFont.load_default(text)
    left = max(int(font.getlength(f"{tick:g}")) for tick in ticks) + text

    def place(x: float, value: float) -> tuple[float, float]:
        return left + x / len(groups) * (style.inner - left), height - value / ticks[-1] * (height - text)

    for tick in ticks:
        draw.line([place(0, tick), place(len(groups), tick)], fill=GRID)
        draw.text((left - text // 2, place(0, tick)[1]), f"{tick:g}", fill=FAINT, font=font, anchor="rm")
    legend = []
    for index, (name, values) in enumerate(groups.items()):
        colour = COLOURS[index % len(COLOURS)]
        if not values:
            legend.append(text_box(f"{name}: none", text, colour=colour, width=style.inner))
            continue
        mean = sum(values) / len(values)
        draw.line([place(index + 0.25, mean), place(index + 0.75, mean)], fill=INK, width=3)
        for number, value in enumerate(values, 1):
            x, top = place(index + 0.25 + 0.5 * number / (len(values) + 1), value)
            draw.ellipse([x - 5, top - 5, x + 5, top + 5], outline=colour, width=2)
        legend.append(text_box(f"{name}: mean {mean:.3g}", text, colour=colour, width=style.inner))
    head = text_box(title, round(1.1 * text), width=style.inner)
    foot = text_box(f"circle: one run; bar: mean of the runs; {y}", text, colour=FAINT, width=style.inner)
    return framed(below([head, *legend, plot, foot], text // 3), style.margin)


def _step(most: float) -> float:
    """Return a round distance between ticks that gives about five ticks up to `most`."""
    size = 10 ** math.floor(math.log10(most / 5))
    return float(next(size * factor for factor in (1, 2, 5, 10) if size * factor >= most / 5))
