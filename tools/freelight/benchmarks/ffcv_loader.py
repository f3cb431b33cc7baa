"""Contender: FFCV, run by its own environment.

Arguments: dataset, crop, batch size, mode, means and std of the three channels (0-255 units), epochs per round.

Crops of 224 pixels: `random` is at a random place of a square, `resized` is FFCV's own random resized crop. Modes:
`uint8` and `float32` read the dataset's own JPEGs; `raw` and `raw-float32` read uint8 pixels, stored uncompressed. All
flip and end in a torch tensor, on two threads.
"""

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ffcv.fields import IntField, RGBImageField, rgb_image  # type: ignore[import-not-found]  # in its own environment
from ffcv.fields.decoders import IntDecoder  # type: ignore[import-not-found]
from ffcv.fields.rgb_image import (  # type: ignore[import-not-found]
    RandomResizedCropRGBImageDecoder,
    ResizedCropRGBImageDecoder,
)
from ffcv.loader import Loader, OrderOption  # type: ignore[import-not-found]
from ffcv.transforms import (  # type: ignore[import-not-found]
    NormalizeImage,
    RandomHorizontalFlip,
    ToTensor,
    ToTorchImage,
)
from ffcv.writer import DatasetWriter  # type: ignore[import-not-found]
from PIL import Image

from freelight.benchmarks.protocol import serve
from freelight.benchmarks.sides.pictures import dataset_parts, read_part


class Picture(np.ndarray):
    """Pixels with the JPEG bytes that they were decoded from."""

    jpeg: Any


class Pictures:
    """A dataset directory as FFCV's writer expects it, read through its samples table."""

    def __init__(self, folder: Path) -> None:
        self.parts = dataset_parts(str(folder))

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        data = read_part(self.parts[index])
        picture = np.asarray(Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB")).view(Picture)
        picture.jpeg = np.frombuffer(data, np.uint8)
        return picture, self.parts[index][-1]


def place(height: int, width: int, scale: Any, ratio: Any) -> tuple[int, int, int, int]:
    """Draw the window: top, left, height and width."""
    top = np.random.randint(0, height - 224 + 1)  # noqa: NPY002  # numba's
    left = np.random.randint(0, width - 224 + 1)  # noqa: NPY002
    return top, left, 224, 224


class RandomCrop(ResizedCropRGBImageDecoder):  # type: ignore[misc]
    """FFCV's crop at a random place, without resizing."""

    scale = None
    ratio = None
    get_crop_generator = staticmethod(place)


CROPS = {"random": RandomCrop, "resized": RandomResizedCropRGBImageDecoder}


def write_pictures(folder: Path, path: str, write_mode: str) -> None:
    """Write the pictures of a dataset directory to an FFCV file: their JPEGs (`jpg`), or pixels (`raw`)."""
    # Otherwise its writer would encode the pixels again, at another quality; all contenders decode the same JPEGs.
    rgb_image.encode_jpeg = lambda picture, quality: picture.jpeg
    fields = {"image": RGBImageField(write_mode=write_mode), "label": IntField()}
    DatasetWriter(path, fields, num_workers=1).from_indexed_dataset(Pictures(folder))


def open_file(path: str, crop: str, batch: int, constants: Any) -> Any:
    """Return a loader of an FFCV file. constants: means and std, (2, 3); None leaves uint8."""
    steps = [CROPS[crop]((224, 224)), RandomHorizontalFlip()]
    if constants is not None:
        steps.append(NormalizeImage(*constants, np.float32))
    return Loader(
        path,
        batch_size=batch,
        num_workers=2,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=False,
        pipelines={"image": [*steps, ToTensor(), ToTorchImage()], "label": [IntDecoder(), ToTensor()]},
    )


@contextmanager
def open_loader(folder: str, crop: str, batch: str, mode: str, *constants: str) -> Iterator[Any]:
    """Write the pictures to an FFCV file, and yield its loader: batches of images and labels, epoch after epoch."""
    normalize = np.array(constants, np.float32).reshape(2, 3) if mode.endswith("float32") else None
    with tempfile.TemporaryDirectory(prefix="freelight-benchmark-") as made:
        path = str(Path(made, "train.beton"))
        write_pictures(Path(folder), path, "raw" if mode.startswith("raw") else "jpg")
        yield open_file(path, crop, int(batch), normalize)


def main() -> None:
    """Load the pictures in each round."""
    *given, epochs = sys.argv[1:]
    with open_loader(*given) as loader:

        def load() -> int:
            return sum(len(images) for _ in range(int(epochs)) for images, _ in loader)

        serve(load, ("ffcv", "torch", "numpy", "numba"))


if __name__ == "__main__":
    main()
