"""Plain loops over picture files, to compare make_shards with: read, decode, rescale, encode."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from freelight.shards import Rescaling, rescale_file
from freelight.shards.images import picture_formats


def freelight_loop(paths: Sequence[Path], rescaling: Rescaling) -> int:
    """Rescale every file as make_shards does, without writing it; return the number of files."""
    for path in paths:
        rescale_file(path.read_bytes(), rescaling)
    return len(paths)


def pillow_loop(paths: Sequence[Path], rescaling: Rescaling) -> int:
    """Rescale every file in the obvious way with Pillow: BICUBIC, central crop, JPEG; return the number of files."""
    size = rescaling.size
    for path in paths:
        with Image.open(path, formats=picture_formats()) as image:
            picture = ImageOps.exif_transpose(image).convert("RGB")
        short = min(picture.size)
        width, height = (max(size, round(size * side / short)) for side in picture.size)
        left, top = (width - size) // 2, (height - size) // 2
        scaled = picture.resize((width, height), Image.Resampling.BICUBIC)
        scaled.crop((left, top, left + size, top + size)).save(
            io.BytesIO(), "JPEG", quality=rescaling.quality, subsampling=rescaling.subsampling
        )
    return len(paths)
