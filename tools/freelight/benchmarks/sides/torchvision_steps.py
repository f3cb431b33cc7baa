"""torchvision's v2 transforms of one sample, for the software that leaves decoding and augmentation to its user."""

from typing import Any

import torch
from torchvision.io import decode_jpeg  # type: ignore[import-not-found]  # it is in its own environment only
from torchvision.transforms import v2  # type: ignore[import-not-found]

from freelight.benchmarks.sides.settings import CROP, MEAN, STD

CROPS = {"random": v2.RandomCrop, "resized": v2.RandomResizedCrop}


def crop_steps(crop: str) -> list[Any]:
    """Return crop and flip."""
    return [CROPS[crop](CROP), v2.RandomHorizontalFlip()]


def later_steps(output: str) -> list[Any]:
    """Return what follows crop and flip."""
    augment = [v2.RandAugment(2, 9)] if output == "rand" else []
    return augment if output == "uint8" else [*augment, v2.ToDtype(torch.float32), v2.Normalize(MEAN, STD)]


class Steps:
    """Decodes a JPEG and transforms it. It can be sent to worker processes."""

    def __init__(self, crop: str, output: str) -> None:
        self.transform = v2.Compose([*crop_steps(crop), *later_steps(output)])

    def __call__(self, jpeg: bytes) -> Any:
        """Return the pixels: (3, CROP, CROP)."""
        return self.transform(decode_jpeg(torch.frombuffer(bytearray(jpeg), dtype=torch.uint8), mode="RGB"))
