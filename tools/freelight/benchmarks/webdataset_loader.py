"""Contender: webdataset with torchvision's v2 transforms, run by their own environment.

Arguments: dataset, batch size, epochs per round, three channel means. Two worker processes; random crop, flip, channel
means, float32.
"""

import sys
from pathlib import Path
from typing import Any

import torch
import webdataset
from torchvision.io import decode_jpeg  # type: ignore[import-not-found]  # it is in its own environment only
from torchvision.transforms import v2  # type: ignore[import-not-found]

from freelight.benchmarks.protocol import serve


def main() -> None:
    """Load the dataset, all epochs in each round."""
    folder, batch, epochs, *means = sys.argv[1:]
    augment = v2.Compose(
        [
            v2.RandomCrop(224),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32),
            v2.Normalize([float(mean) for mean in means], [1.0, 1.0, 1.0]),
        ]
    )

    def decode(sample: tuple[bytes, bytes]) -> tuple[Any, int]:
        return augment(decode_jpeg(torch.frombuffer(bytearray(sample[0]), dtype=torch.uint8))), int(sample[1])

    shards = [str(path) for path in sorted(Path(folder).glob("train-*.tar"))]
    dataset = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(500).to_tuple("jpg", "cls").map(decode)
    loader = torch.utils.data.DataLoader(dataset, batch_size=int(batch), num_workers=2, persistent_workers=True)

    def load() -> int:
        return sum(len(images) for _ in range(int(epochs)) for images, _ in loader)

    torch.set_num_threads(1)
    serve(load, ("webdataset", "torchvision", "torch"))


if __name__ == "__main__":
    main()
