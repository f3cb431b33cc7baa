"""Contender: a training step of torchvision's AlexNet on two threads, run by its own environment.

Argument: images per batch.
"""

import sys

import torch
import torch.nn.functional as F
import torchvision  # type: ignore[import-not-found]  # it is in its own environment only

from freelight.benchmarks.protocol import serve


def main() -> None:
    """Take one step in each round, on random pixels."""
    torch.set_num_threads(2)
    network = torchvision.models.alexnet()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)
    images, labels = torch.randn(int(sys.argv[1]), 3, 224, 224), torch.randint(1000, (int(sys.argv[1]),))

    def step() -> int:
        F.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        return len(labels)

    serve(step, ("torchvision", "torch"))


if __name__ == "__main__":
    main()
