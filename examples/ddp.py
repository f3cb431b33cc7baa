"""Train with DistributedDataParallel: `torchrun --nproc-per-node 2 examples/ddp.py DATASET RUN`.

Killed at any step, the same command resumes there, on any number of processes.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from freelight.pipeline import Lighting, Loader, RandomResizedCrop, Transform

MEAN, STD, OFF = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), Lighting(mode="off")  # RGB, 0-255 units
TRANSFORM = Transform(crop=RandomResizedCrop(size=64), mean=MEAN, std=STD, lighting=OFF)


def train(folder: str, run: Path, *, epochs: int = 3, batch_size: int = 57) -> None:
    # Rank and world size are the process group's. last="short": a rank's share of the last batch may be empty.
    loader = Loader(folder, "train", batch_size=batch_size, transform=TRANSFORM, last="short")
    torch.manual_seed(0)
    classes = len(loader.dataset.manifest.classes)
    net = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    model = DistributedDataParallel(nn.Sequential(net, nn.Linear(8 * 4 * 4, classes)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    total, checkpoint = torch.zeros((), dtype=torch.float64), run / "checkpoint.pt"
    run.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        for name, part in (("model", model), ("optimizer", optimizer), ("loader", loader)):
            part.load_state_dict(saved[name])
        total = saved["total"]
    for epoch in range(loader.epoch, epochs):
        loader.set_epoch(epoch)
        for images, labels in loader:
            # The mean over the global batch: DDP averages gradients over the ranks, whose shares may differ.
            loss = nn.functional.cross_entropy(model(images), labels, reduction="sum") / loader.global_size
            optimizer.zero_grad()
            (loss * loader.world_size).backward()
            optimizer.step()
            summed = loss.detach() * loader.global_size
            dist.all_reduce(summed)
            total += summed.double()
            if loader.rank == 0:
                parts = {"model": model, "optimizer": optimizer, "loader": loader}
                state = {name: part.state_dict() for name, part in parts.items()}
                torch.save({**state, "total": total}, checkpoint.with_suffix(".tmp"))
                os.replace(checkpoint.with_suffix(".tmp"), checkpoint)
        if loader.rank == 0:
            print(f"epoch {epoch}: loss {total / len(loader.split):.9f}")
        total.zero_()


if __name__ == "__main__":
    dist.init_process_group("gloo")
    train(sys.argv[1], Path(sys.argv[2]))
    dist.destroy_process_group()
