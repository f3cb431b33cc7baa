"""Train with Ignite: `torchrun --nproc-per-node 2 examples/in_ignite.py DATASET RUN [STEPS]`. Repeat to resume.

STEPS is the number of steps of an epoch (`epoch_length`); the loader then continues through the permutation.
"""

import os
import sys
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import nn

from freelight.pipeline import Lighting, Loader, RandomCrop, Transform

TRANSFORM = Transform(crop=RandomCrop(size=64), mean=(123.675, 116.28, 103.53), lighting=Lighting(mode="off"))


def train(_: int, folder: str, run: Path, steps: int | None) -> None:
    loader = Loader(folder, "train", batch_size=16, transform=TRANSFORM, last="short", steps_per_epoch=steps)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    model = idist.auto_model(net.append(nn.Linear(8 * 4 * 4, len(loader.dataset.manifest.classes))))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(engine: Engine, batch: Any) -> None:
        logits = model(batch.images / 64)
        loss = nn.functional.cross_entropy(logits, batch.labels, reduction="sum") / loader.global_size
        optimizer.zero_grad()
        (loss * loader.world_size).backward()  # DDP takes the mean over the ranks
        optimizer.step()

    trainer = Engine(step)
    parts = {"model": model, "optimizer": optimizer, "loader": loader, "trainer": trainer}
    run.mkdir(parents=True, exist_ok=True)
    last = run / "last.pt"
    if last.exists():
        saved = torch.load(last)
        for name, part in parts.items():
            part.load_state_dict(saved[name])

    @trainer.on(Events.EPOCH_STARTED)
    def name_epoch(engine: Engine) -> None:
        loader.set_epoch(engine.state.epoch - 1)

    @trainer.on(Events.ITERATION_COMPLETED)
    def save(engine: Engine) -> None:
        if idist.get_rank() == 0:
            torch.save({name: part.state_dict() for name, part in parts.items()}, last.with_suffix(".new"))
            os.replace(last.with_suffix(".new"), last)

    trainer.run(loader, max_epochs=3, epoch_length=len(loader))
    print(f"rank {idist.get_rank()}: {trainer.state.iteration} steps")


if __name__ == "__main__":
    with idist.Parallel(backend="gloo" if "RANK" in os.environ else None) as parallel:
        parallel.run(train, sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
