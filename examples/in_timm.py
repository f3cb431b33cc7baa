"""Train a timm model with timm's optimizer, schedule and average: `python examples/in_timm.py DATASET RUN`.

Repeat to resume. timm's reader takes the same shards: `create_dataset("wds/", DATASET, split="train-{...}.tar|N")`.
"""

import os
import sys
from pathlib import Path

import timm
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3, accuracy
from torch import nn

from freelight.pipeline import CenterCrop, Lighting, Loader, RandomResizedCrop, Transform
from freelight.shards import Dataset


def train(folder: str, run: Path, *, name: str = "test_resnet", size: int = 64, epochs: int = 3) -> None:
    dataset, last, off = Dataset(folder), run / "last.pt", Lighting(mode="off")
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=len(dataset.manifest.classes))
    config = timm.data.resolve_model_data_config(model)  # its constants are for pixels in 0-1
    mean, std = ([255 * value for value in config[key]] for key in ("mean", "std"))
    crops = Transform(crop=RandomResizedCrop(size=size), mean=mean, std=std, lighting=off)
    centre = Transform(crop=CenterCrop(size=size), mean=mean, std=std, lighting=off)
    loader = Loader(dataset, "train", batch_size=16, transform=crops)
    val = Loader(dataset, "val", batch_size=16, transform=centre, order="sequential")
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler, _ = create_scheduler_v2(optimizer, num_epochs=epochs, updates_per_epoch=len(loader))
    ema, step = ModelEmaV3(model, decay=0.9), 0
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "ema": ema, "loader": loader}
    run.mkdir(parents=True, exist_ok=True)
    if last.exists():
        saved = torch.load(last)
        step = saved["step"]
        for key, part in parts.items():
            part.load_state_dict(saved[key])
    for epoch in range(loader.epoch, epochs):
        loader.set_epoch(epoch)
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model.train()(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            ema.update(model, step)
            torch.save({"step": step, **{key: part.state_dict() for key, part in parts.items()}}, f"{last}.new")
            os.replace(f"{last}.new", last)
        scheduler.step(epoch + 1)
        with torch.no_grad():
            right = sum(accuracy(ema.module.eval()(x), y)[0] * len(y) / 100 for x, y in val)
        print(f"epoch {epoch}: {right:.0f} of {len(val.split)} right")


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]))
