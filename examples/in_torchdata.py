"""Train over torchdata's nodes: `python examples/in_torchdata.py DATASET RUN`. Repeat to resume."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
import torchdata.nodes
from torch import nn

from freelight.pipeline import Batch, Lighting, Loader, RandomCrop, Transform

TRANSFORM = Transform(crop=RandomCrop(size=64), mean=(123.675, 116.28, 103.53), lighting=Lighting(mode="off"))


class Batches(torchdata.nodes.BaseNode[Batch]):
    """The batches of the epoch that `set_epoch` named. Other nodes can follow; the state is the loader's."""

    def __init__(self, loader: Loader) -> None:
        super().__init__()
        self.loader = loader

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        super().reset(initial_state)
        if initial_state is not None:
            self.loader.load_state_dict(initial_state)
            self.loader.set_epoch(initial_state["epoch"])  # continue it, also if nothing is left
        self.batches = iter(self.loader)

    def next(self) -> Batch:
        return next(self.batches)  # type: ignore[no-any-return]

    def get_state(self) -> dict[str, Any]:
        return self.loader.state_dict()


if __name__ == "__main__":
    loader, last = Loader(sys.argv[1], "train", batch_size=16, transform=TRANSFORM), Path(sys.argv[2], "last.pt")
    last.parent.mkdir(parents=True, exist_ok=True)
    nodes = torchdata.nodes.Loader(Batches(loader), restart_on_stop_iteration=False)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    net.append(nn.Linear(8 * 4 * 4, len(loader.dataset.manifest.classes)))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    parts, first = {"net": net, "optimizer": optimizer, "nodes": nodes}, 0
    if last.exists():
        saved = torch.load(last)
        first = saved["nodes"]["root"]["epoch"]
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    for epoch in range(first, 3):
        loader.set_epoch(epoch)
        for images, labels in nodes:
            loss = nn.functional.cross_entropy(net(images / 64), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            torch.save({name: part.state_dict() for name, part in parts.items()}, f"{last}.new")
            os.replace(f"{last}.new", last)
