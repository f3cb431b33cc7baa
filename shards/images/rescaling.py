"""Any picture file -> the 256x256 RGB picture that the network is trained on.

The geometry is the authors' (paper section 2; `make-data.py` of cuda-convnet2): the whole image is scaled so that its
shorter side is 256, then the window at `(length - 256) // 2` is cut out. Only that window is computed.
"""

import functools
import io
import warnings
import zlib
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError

from ..base.errors import FreelightError

try:
    import simplejpeg  # the extra `fast`: Pillow's pixels in three quarters of its time
except ModuleNotFoundError:
    simplejpeg = None

Pixels = npt.NDArray[np.uint8]

AUTHORS = "authors"
# The filter for enlarging, and for shrinking too but for the authors'.
RESAMPLINGS = {
    AUTHORS: Image.Resampling.BICUBIC,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
MAX_SIZE = 65_500


@dataclass(frozen=True, kw_only=True)
class Rescaling:
    """How pictures are rescaled and stored; recorded in the manifest.

    size: side of the square output, pixels. quality: JPEG quality, 1-100 (the authors': 95). resampling: a name in
    `RESAMPLINGS`; "authors" averages over exact areas when shrinking and is bicubic when enlarging, the others are
    Pillow's both ways.
    """

    size: int = 256
    quality: int = 95
    resampling: str = AUTHORS
    # Named here so that the manifest says them; there is one of each so far.
    subsampling: str = "4:2:0"
    orientation: str = "EXIF orientation applied"

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIZE:
            raise FreelightError(
                f"--size (={self.size}) must be at least 1 pixel and at most {MAX_SIZE}, as JPEG has it"
            )
        if self.resampling not in RESAMPLINGS:
            raise FreelightError(f"--resampling (={self.resampling}) must be one of {', '.join(RESAMPLINGS)}")
        if not 1 <= self.quality <= 100:
            raise FreelightError(f"--quality (={self.quality}) must lie in 1..100")


# What a picture that is gzipped once more may come to, bytes: the largest of ImageNet is a tenth of it.
MAX_UNZIPPED = 128 << 20

# EXIF orientation -> what makes the picture upright; 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_picture(data: bytes) -> Image.Image:
    """Decode a picture file to an upright 8-bit RGB image.

    CMYK, greyscale, palette, alpha (dropped) and 16-bit files become RGB; EXIF orientation is applied, and an
    unreadable EXIF block is ignored. Raises `FreelightError` with the reason for what cannot be decoded whole.
    """
    return Image.fromarray(_decode(data)[0])


def _decode(data: bytes) -> tuple[Pixels, str]:
    """Return the picture, and its kind as `Rescaled` says it."""
    if not data:
        raise FreelightError("cannot decode: the file is empty")
    data = _unzipped(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata mostly; what makes the pixels unsound is an error
            image: Image.Image = Image.open(io.BytesIO(data))
            kind = _kind(image.mode)
            pixels = _decode_jpeg(data) if image.format == "JPEG" and image.mode in ("RGB", "L") else None
            if pixels is None:
                image.load()
                pixels = np.asarray(_to_rgb(image))
            return _upright(pixels, image), kind
    except MemoryError:
        raise
    except UnidentifiedImageError as error:  # its own text holds a memory address, another one each time
        raise FreelightError("cannot decode: not a picture in a known format") from error
    except Exception as error:  # Pillow's readers raise nearly anything; one bad file must not stop a million
        raise FreelightError(f"cannot decode: {error}") from error


def _decode_jpeg(data: bytes) -> Pixels | None:
    """Decode a sound JPEG by simplejpeg. None: Pillow must, or must judge."""
    if simplejpeg is None:
        return None
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
        return pixels
    except ValueError:
        return None


def _unzipped(data: bytes) -> bytes:
    """Return the content of a gzip file, of which ImageNet has one named .JPEG; other data as they are."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        reader = zlib.decompressobj(wbits=31)
        content = reader.decompress(data, MAX_UNZIPPED)
    except zlib.error as error:
        raise FreelightError(f"cannot decode: damaged gzip ({error})") from error
    if not reader.eof:
        raise FreelightError(f"cannot decode: gzip cut short, or of more than {MAX_UNZIPPED >> 20} MiB")
    return content


def _kind(mode: str) -> str:
    if mode == "CMYK":
        return "cmyk"
    return "greyscale" if mode in ("1", "L", "LA", "La", "F") or mode.startswith("I") else "colour"


def _upright(pixels: Pixels, image: Image.Image) -> Pixels:
    """Apply the EXIF orientation of `image`, unless its block is corrupt: ImageNet has such over sound pixels.

    `ImageOps.exif_transpose` also writes the block anew, and fails on a damaged one after the orientation is known.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return pixels
    if orientation not in _UPRIGHT:
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(_UPRIGHT[orientation]))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB; alpha is dropped."""
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips at 255
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        # Adobe's CMYK is inverted, which Pillow undoes; without Adobe's marker it is not, as libjpeg and DALI hold.
        image = ImageChops.invert(image)
    return image.convert("RGB")


@functools.lru_cache(maxsize=1024)  # 8 kB each; a thousand photographs have some 400 different sides
def _area_weights(length: int, scaled: int, start: int, size: int) -> tuple[slice, Any]:
    """Return which of `length` pixels count, and the (size, those) matrix that area-averages `length` to `scaled`.

    Only rows start..start+size of the scaled picture are made.
    """
    step = length / scaled
    left = (start + np.arange(size))[:, None] * step
    pixel = np.floor(left).astype(np.int64) + np.arange(int(np.ceil(step)) + 1)
    covered = np.clip(np.minimum(left + step, pixel + 1) - np.maximum(left, pixel), 0, None) / step
    inside = (covered > 0) & (pixel < length)
    columns = pixel[inside].astype(np.int32)
    first, last = int(columns[0]), int(columns[-1]) + 1
    ends = np.concatenate([[0], inside.sum(axis=1).cumsum()]).astype(np.int32)
    weights = (covered[inside].astype(np.float32), columns - np.int32(first), ends)
    from scipy.sparse import csr_array  # takes 0.1 s to import, which a command's --help can save

    return slice(first, last), csr_array(weights, shape=(size, last - first))


def rescale(image: Image.Image, size: int, resampling: str = AUTHORS) -> Pixels:
    """Scale an RGB image's shorter side to `size` and cut out the central square: uint8 (size, size, 3), 0-255.

    The longer side becomes `round(size * long / short)`. resampling: one of `RESAMPLINGS`.
    """
    return _rescale_pixels(np.asarray(image), size, resampling)


def _rescale_pixels(pixels: Pixels, size: int, resampling: str) -> Pixels:
    height, width = pixels.shape[:2]
    short = min(width, height)
    scaled_width, scaled_height = (max(size, round(size * side / short)) for side in (width, height))
    left, top = (scaled_width - size) // 2, (scaled_height - size) // 2
    if size == short:  # nothing to resample: the pixels stay as they are
        return np.ascontiguousarray(pixels[top : top + size, left : left + size])
    if resampling != AUTHORS or size > short:
        across, down = width / scaled_width, height / scaled_height
        box = (left * across, top * down, (left + size) * across, (top + size) * down)
        return np.asarray(Image.fromarray(pixels).resize((size, size), RESAMPLINGS[resampling], box=box))
    rows, down_weights = _area_weights(height, scaled_height, top, size)
    columns, across_weights = _area_weights(width, scaled_width, left, size)
    part = pixels[rows, columns].astype(np.float32)
    # Only two-dimensional transpositions: numpy's of the three-dimensional array take longer than all the sums.
    scaled = down_weights @ part.reshape(len(part), -1)  # y, (column, channel)
    turned = _transposed(scaled).reshape(part.shape[1], -1)  # column, (channel, y)
    means = across_weights @ turned  # x, (channel, y)
    means += 0.5
    window = means.astype(np.uint8)  # of 0-255, they need no clipping
    return _transposed(window.reshape(-1, size)).reshape(size, size, 3)


def _transposed(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a contiguous copy of the transpose, some rows at a time: what these touch then stays in the cache."""
    turned = np.empty(matrix.shape[::-1], matrix.dtype)
    for first in range(0, len(matrix), 128):
        turned[:, first : first + 128] = matrix[first : first + 128].T
    return turned


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Encode uint8 (H, W, 3) RGB pixels as a baseline JPEG, 4:2:0, without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


class Rescaled(NamedTuple):
    """A rescaled picture: its JPEG, and what the file held: "colour", "greyscale" or "cmyk"."""

    jpeg: bytes
    kind: str


def rescale_file(data: bytes, rescaling: Rescaling) -> bytes:
    """Turn the bytes of a picture file into those of the rescaled JPEG: `rescale_picture` without the kind."""
    return rescale_picture(data, rescaling).jpeg


def rescale_picture(data: bytes, rescaling: Rescaling) -> Rescaled:
    """Turn the bytes of a picture file into the rescaled JPEG, proven to decode.

    Raises `FreelightError` with the reason when the picture is not sound.
    """
    pixels, kind = _decode(data)
    jpeg = encode_jpeg(_rescale_pixels(pixels, rescaling.size, rescaling.resampling), rescaling.quality)
    _prove_decodable(jpeg)
    return Rescaled(jpeg, kind)


def _prove_decodable(jpeg: bytes) -> None:
    """Decode at an eighth of the size: that reads every code, and skips most of the rest."""
    if simplejpeg is not None:
        simplejpeg.decode_jpeg(jpeg, min_height=1, min_width=1)
        return
    with Image.open(io.BytesIO(jpeg)) as image:
        image.draft("RGB", (image.width // 8, image.height // 8))
        image.load()


def jpeg_decoder() -> str:
    """Name what decodes the sources' JPEGs, with its version."""
    if simplejpeg is None:
        return f"Pillow {PIL.__version__}"
    return f"simplejpeg {metadata.version('simplejpeg')}"
