"""Contender: webdataset with torchvision's v2 transforms, run by their own environment.

Arguments: dataset, crop, batch size, backend, augmentation, means and std of the three channels (0-255 units), epochs
per round. Two worker processes; a crop of 224 pixels (`random`: at a random place; `resized`: a random resized crop),
flip, augmentation, means and std, float32. Backends: `tensor` or `PIL`. Augmentations: `plain` (none) and those of
`freelight.benchmarks.augment`.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import webdataset
from PIL import Image
from torchvision.io import decode_jpeg  # type: ignore[import-not-found]  # it is in its own environment only
from torchvision.transforms import v2  # type: ignore[import-not-found]

from freelight.benchmarks.protocol import serve

CROPS = {"random": v2.RandomCrop, "resized": v2.RandomResizedCrop}
AUGMENTATIONS: dict[str, list[Any]] = {
    "plain": [],
    "jitter": [v2.ColorJitter(0.4, 0.4, 0.4, 0.1)],
    "rand": [v2.RandAugment(2, 9)],
    "trivial": [v2.TrivialAugmentWide()],
    "mixed": [v2.RandAugment(2, 9)],
}
"""`mixed` also erases and mixes up; both are for normalized tensors."""
ERASE, MIX = v2.RandomErasing(p=0.25), v2.MixUp(alpha=0.2, num_classes=1000)


def mix(samples: list[Any]) -> Any:
    """Collate a batch and mix it up."""
    return MIX(*torch.utils.data.default_collate(samples))


@contextmanager
def open_loader(folder: str, crop: str, batch: str, backend: str, augmentation: str, *constants: str) -> Iterator[Any]:
    """Yield a loader of the dataset: batches of images and labels, epoch after epoch."""
    numbers = [float(number) for number in constants]
    augment = v2.Compose(
        [
            CROPS[crop](224),
            v2.RandomHorizontalFlip(),
            *AUGMENTATIONS[augmentation],
            *([v2.PILToTensor()] if backend == "PIL" else []),
            v2.ToDtype(torch.float32),
            v2.Normalize(numbers[:3], numbers[3:]),
            *([ERASE] if augmentation == "mixed" else []),
        ]
    )

    def decode(sample: tuple[bytes, bytes]) -> tuple[Any, int]:
        picture: Any
        if backend == "PIL":
            picture = Image.open(io.BytesIO(sample[0]), formats=["JPEG"]).convert("RGB")
        else:
            picture = decode_jpeg(torch.frombuffer(bytearray(sample[0]), dtype=torch.uint8), mode="RGB")
        return augment(picture), int(sample[1])

    torch.set_num_threads(1)
    shards = [str(path) for path in sorted(Path(folder).glob("train-*.tar"))]
    dataset = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(500).to_tuple("jpg", "cls").map(decode)
    collate = mix if augmentation == "mixed" else None
    yield torch.utils.data.DataLoader(
        dataset, batch_size=int(batch), num_workers=2, persistent_workers=True, collate_fn=collate
    )


def main() -> None:
    """Load the dataset, all epochs in each round."""
    *given, epochs = sys.argv[1:]
    with open_loader(*given) as loader:

        def load() -> int:
            return sum(len(images) for _ in range(int(epochs)) for images, _ in loader)

        serve(load, ("webdataset", "torchvision", "torch"))


if __name__ == "__main__":
    main()
