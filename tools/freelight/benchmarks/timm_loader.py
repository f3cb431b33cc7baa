"""Contender: timm's own loader and transforms over its `wds/` reader, run by torchvision's environment.

Arguments: dataset, batch size, augmentation, means and std of the three channels (0-255 units), epochs per round. Two
worker processes; a random resized crop of 224 pixels, flip, augmentation, means and std, float32 on the CPU. The
augmentations are those of `freelight.benchmarks.augment`. In training, timm fills the last batch of each worker.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timm.data import FastCollateMixup, create_dataset, create_loader  # type: ignore[import-not-found]

from freelight.benchmarks.protocol import serve

AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "plain": {"color_jitter": None},
    "jitter": {"color_jitter": (0.4, 0.4, 0.4, 0.1)},
    "rand": {"auto_augment": "rand-m9-n2"},
    "mixed": {"auto_augment": "rand-m9-n2", "re_prob": 0.25},
}
"""`mixed` also mixes up."""


@contextmanager
def open_loader(folder: str, batch: str, augmentation: str, *constants: str) -> Iterator[Any]:
    """Yield a loader of the dataset: batches of images and labels, epoch after epoch."""
    numbers = [float(number) / 255 for number in constants]
    torch.set_num_threads(1)
    dataset = create_dataset("wds/", root=folder, split="train", is_training=True, batch_size=int(batch))
    collate = FastCollateMixup(mixup_alpha=0.2, num_classes=1000) if augmentation == "mixed" else None
    yield create_loader(
        dataset,
        input_size=(3, 224, 224),
        batch_size=int(batch),
        is_training=True,
        interpolation="bilinear",
        mean=numbers[:3],
        std=numbers[3:],
        num_workers=2,
        device=torch.device("cpu"),
        collate_fn=collate,
        **AUGMENTATIONS[augmentation],
    )


def main() -> None:
    """Load the dataset, all epochs in each round."""
    *given, epochs = sys.argv[1:]
    with open_loader(*given) as loader:

        def load() -> int:
            return sum(len(images) for _ in range(int(epochs)) for images, _ in loader)

        serve(load, ("timm", "torchvision", "torch"))


if __name__ == "__main__":
    main()
