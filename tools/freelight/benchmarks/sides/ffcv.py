"""FFCV's side: its writer and its loader. It has no RandAugment."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ffcv.fields import IntField, RGBImageField  # type: ignore[import-not-found]  # it is in its own environment only
from ffcv.writer import DatasetWriter  # type: ignore[import-not-found]

from freelight.benchmarks.ffcv_loader import open_file, write_pictures
from freelight.benchmarks.sides.pictures import File, Part
from freelight.benchmarks.sides.settings import MEAN, QUALITY, STD, WORKERS
from freelight.benchmarks.sides.squares import cut_square

DISTRIBUTIONS = ("ffcv", "torch", "numpy", "numba")
FILE = "train.beton"


class Squares:
    """The files as the writer expects them: it encodes their squares itself."""

    def __init__(self, files: Sequence[File]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.files[index]
        return np.asarray(cut_square(path)), label


def prepare(files: Sequence[File], out: str) -> None:
    """Write the squares of the files."""
    Path(out).mkdir()
    fields = {"image": RGBImageField(write_mode="jpg", jpeg_quality=QUALITY), "label": IntField()}
    DatasetWriter(f"{out}/{FILE}", fields, num_workers=WORKERS).from_indexed_dataset(Squares(files))


def convert(dataset: str, parts: Sequence[Part], out: str) -> None:
    """Write the JPEGs as they are."""
    Path(out).mkdir()
    write_pictures(Path(dataset), f"{out}/{FILE}", "jpg")


@contextmanager
def open_loader(folder: str, crop: str, batch: int, output: str) -> Iterator[Any]:
    """Yield a loader of one epoch after another."""
    constants = None if output == "uint8" else np.array([MEAN, STD], np.float32)
    yield open_file(f"{folder}/{FILE}", crop, batch, constants)
