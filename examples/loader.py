"""Train any torch model on Freelight's batches, in a loop of your own: `python examples/loader.py DATASET`.

DATASET is the folder that `freelight make-shards` wrote. The network is small, so that this example runs on a CPU.
"""

import sys

import torch
from torch import nn

from freelight.pipeline import Lighting, Loader, RandomResizedCrop, Transform
from freelight.shards import Dataset

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # RGB, 0-255 units


def train(folder: str, *, epochs: int = 2, batch_size: int = 32, device: str = "cpu") -> list[float]:
    """Train for some epochs and return the loss of every step."""
    dataset = Dataset(folder)
    crop = RandomResizedCrop(size=128)
    transform = Transform(crop=crop, mean=MEAN, std=STD, lighting=Lighting(mode="off"))
    loader = Loader(dataset, "train", batch_size=batch_size, transform=transform, device=device)
    classes = len(dataset.manifest.classes)
    model = nn.Sequential(nn.Conv2d(3, 16, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    model = nn.Sequential(model, nn.Linear(16 * 4 * 4, classes)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(epochs):
        for images, labels in loader:  # each pass over the loader is one epoch, with new crops and flips
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


if __name__ == "__main__":
    losses = train(sys.argv[1])
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} in {len(losses)} steps")
