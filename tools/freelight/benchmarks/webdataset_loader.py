"""Contender: webdataset with torchvision's v2 transforms, run by their own environment.

Arguments: dataset, crop, batch size, means and std of the three channels (0-255 units), epochs per round. Two worker
processes; a crop of 224 pixels (`random`: at a random place; `resized`: a random resized crop), flip, means and std,
float32.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import webdataset
from torchvision.io import decode_jpeg  # type: ignore[import-not-found]  # it is in its own environment only
from torchvision.transforms import v2  # type: ignore[import-not-found]

from freelight.benchmarks.protocol import serve

CROPS = {"random": v2.RandomCrop, "resized": v2.RandomResizedCrop}


@contextmanager
def open_loader(folder: str, crop: str, batch: str, *constants: str) -> Iterator[Any]:
    """Yield a loader of the dataset: batches of images and labels, epoch after epoch."""
    numbers = [float(number) for number in constants]
    augment = v2.Compose(
        [
            CROPS[crop](224),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32),
            v2.Normalize(numbers[:3], numbers[3:]),
        ]
    )

    def decode(sample: tuple[bytes, bytes]) -> tuple[Any, int]:
        picture = decode_jpeg(torch.frombuffer(bytearray(sample[0]), dtype=torch.uint8), mode="RGB")
        return augment(picture), int(sample[1])

    torch.set_num_threads(1)
    shards = [str(path) for path in sorted(Path(folder).glob("train-*.tar"))]
    dataset = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(500).to_tuple("jpg", "cls").map(decode)
    yield torch.utils.data.DataLoader(dataset, batch_size=int(batch), num_workers=2, persistent_workers=True)


def main() -> None:
    """Load the dataset, all epochs in each round."""
    *given, epochs = sys.argv[1:]
    with open_loader(*given) as loader:

        def load() -> int:
            return sum(len(images) for _ in range(int(epochs)) for images, _ in loader)

        serve(load, ("webdataset", "torchvision", "torch"))


if __name__ == "__main__":
    main()
