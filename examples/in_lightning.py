"""Train with Lightning: `python examples/in_lightning.py DATASET RUN [BATCHES]`, or under torchrun; repeat to resume.
BATCHES is Lightning's `limit_train_batches`."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from freelight.pipeline import CenterCrop, Lighting, Loader, RandomCrop, Transform

MEAN, OFF = (123.675, 116.28, 103.53), Lighting(mode="off")  # RGB, 0-255 units


class Data(LightningDataModule):
    """The loaders. Its state is that of the training loader, which Lightning saves and loads in time."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        crops = Transform(crop=RandomCrop(size=64), mean=MEAN, lighting=OFF)
        centre = Transform(crop=CenterCrop(size=64), mean=MEAN, lighting=OFF)
        self.train = Loader(folder, "train", batch_size=16, transform=crops, last="short")
        self.val = Loader(folder, "val", batch_size=8, transform=centre, order="sequential", last="short")
        self.train_dataloader, self.val_dataloader = (lambda: self.train), (lambda: self.val)
        self.state_dict, self.load_state_dict = self.train.state_dict, self.train.load_state_dict


class Net(LightningModule):
    def __init__(self, data: Data) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.net.append(nn.Linear(8 * 4 * 4, len(data.train.dataset.manifest.classes)))
        self.loader = data.train

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        loss = nn.functional.cross_entropy(self.net(batch.images / 64), batch.labels, reduction="sum")
        return loss * self.loader.world_size / self.loader.global_size  # DDP takes the mean over the ranks

    def validation_step(self, batch: Any, _: int) -> None:
        right = (self.net(batch.images / 64).argmax(dim=1) == batch.labels).sum().float()
        self.log("right", right, reduce_fx="sum", sync_dist=True, batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


if __name__ == "__main__":
    folder, run, *limit = sys.argv[1:]
    torch.manual_seed(0)
    data, last, devices = Data(folder), Path(run, "last.ckpt"), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    saving = ModelCheckpoint(run, every_n_train_steps=1, save_last=True)
    trainer = Trainer(max_epochs=3, limit_train_batches=int(limit[0]) if limit else None, callbacks=[saving],
                      accelerator="cpu", devices=devices, logger=False, enable_progress_bar=False)  # fmt: skip
    trainer.fit(Net(data), data, ckpt_path=last if last.exists() else None, weights_only=False)
    print(f"{int(trainer.callback_metrics['right'])} of {len(data.val.split)} right")
