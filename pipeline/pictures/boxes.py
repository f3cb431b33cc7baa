"""Boxes: pictures and lines of text, placed beside and below each other. A box is a Pillow image."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ...shards.base import atomic_write

PAPER, INK, FAINT = (255, 255, 255), (25, 25, 25), (110, 110, 110)


def text_box(text: str, size: int, *, colour: tuple[int, int, int] = INK, width: int | None = None) -> Image.Image:
    """Draw lines of text, `size` pixels high. width: of the box, pixels; longer lines are cut and end in "...".

    Pillow's built-in font has few characters beyond ASCII: other characters become question marks.
    """
    font = ImageFont.load_default(size)
    lines = [_fit(line, font, width) for line in text.encode("ascii", "replace").decode().split("\n")]
    pitch = round(size * 1.35)
    box_width = max(width or 1, *(int(np.ceil(font.getlength(line))) + 1 for line in lines))
    box = Image.new("RGB", (box_width, pitch * len(lines)), PAPER)
    draw = ImageDraw.Draw(box)
    for number, line in enumerate(lines):
        draw.text((0, number * pitch + pitch // 2), line, fill=colour, font=font, anchor="lm")
    return box


def captioned(picture: Image.Image, caption: str, size: int = 13) -> Image.Image:
    """Put a caption below a picture, in lines that fit into its width."""
    return below([picture, text_box(wrapped(caption, size, picture.width), size, width=picture.width)], 3)


def wrapped(text: str, size: int, width: int) -> str:
    """Return the text with line breaks, so that its lines of height `size` fit into `width` pixels.

    Lines break at spaces, after commas and "=", and else where they must.
    """
    font = ImageFont.load_default(size)
    lines = [""]
    for line in text.split("\n"):
        for word in re.findall(r"[^ ,=]*[ ,=]?", line):
            if lines[-1] and font.getlength(lines[-1] + word.rstrip()) > width:
                lines.append("")
            for letter in word:
                if font.getlength(lines[-1] + letter) > width:
                    lines.append("")
                lines[-1] += letter
        lines.append("")
    return "\n".join(line.rstrip() for line in lines[:-1])


def _fit(line: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", width: int | None) -> str:
    if width is None or font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}...") > width:
        line = line[:-1]
    return f"{line.rstrip()}..."


def tile(pixels: npt.NDArray[np.uint8], side: int) -> Image.Image:
    """Scale pixels (H, W, 3) into a square of side `side`. Enlarged pixels stay sharp squares."""
    enlarged = max(pixels.shape[:2]) < side
    filter_ = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    return ImageOps.pad(Image.fromarray(pixels), (side, side), filter_, color=PAPER)


def beside(boxes: Sequence[Image.Image], gap: int, *, middle: bool = False) -> Image.Image:
    """Put boxes in a row, `gap` pixels apart, aligned to the top, or to the middle if `middle`."""
    height = max(box.height for box in boxes)
    row = Image.new("RGB", (sum(box.width for box in boxes) + gap * (len(boxes) - 1), height), PAPER)
    left = 0
    for box in boxes:
        row.paste(box, (left, (height - box.height) // 2 if middle else 0))
        left += box.width + gap
    return row


def below(boxes: Sequence[Image.Image], gap: int) -> Image.Image:
    """Stack boxes, `gap` pixels apart, aligned to the left."""
    stack = Image.new(
        "RGB", (max(box.width for box in boxes), sum(box.height for box in boxes) + gap * (len(boxes) - 1)), PAPER
    )
    top = 0
    for box in boxes:
        stack.paste(box, (0, top))
        top += box.height + gap
    return stack


def framed(box: Image.Image, margin: int) -> Image.Image:
    """Return the box with a margin of `margin` pixels on each side."""
    whole = Image.new("RGB", (box.width + 2 * margin, box.height + 2 * margin), PAPER)
    whole.paste(box, (margin, margin))
    return whole


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a PNG file atomically."""
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", optimize=True)
    with atomic_write(path) as file:
        file.write(encoded.getvalue())
