"""Squares as users of software without a rescaler make them, with Pillow."""

import io

from PIL import Image

from freelight.benchmarks.sides.settings import QUALITY, SIZE


def cut_square(path: str) -> Image.Image:
    """Return a file's picture with the shorter side scaled and the middle cut out."""
    with Image.open(path, formats=["JPEG", "PNG"]) as opened:
        picture = opened.convert("RGB")
    scale = SIZE / min(picture.size)
    width, height = (max(SIZE, round(side * scale)) for side in picture.size)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    scaled = picture.resize((width, height), Image.Resampling.BICUBIC)
    return scaled.crop((left, top, left + SIZE, top + SIZE))


def make_square(path: str) -> bytes:
    """Return the square of a file as a JPEG."""
    data = io.BytesIO()
    cut_square(path).save(data, "JPEG", quality=QUALITY)
    return data.getvalue()
