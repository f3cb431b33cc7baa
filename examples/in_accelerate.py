"""Train with Accelerate: `torchrun --nproc-per-node 2 examples/in_accelerate.py DATASET RUN`. Repeat to resume.

Do not give the loader to `prepare`: Accelerate would send rank 0's batches to all ranks. The loader already has the
ranks of the process group, and its batches are on its device.
"""

import shutil
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from freelight.pipeline import Lighting, Loader, RandomCrop, Transform

TRANSFORM = Transform(crop=RandomCrop(size=64), mean=(123.675, 116.28, 103.53), lighting=Lighting(mode="off"))


def train(folder: str, run: Path, *, epochs: int = 3) -> None:
    """Train, and save after every step."""
    accelerator = Accelerator(cpu=True)
    loader = Loader(folder, "train", batch_size=16, transform=TRANSFORM, last="short")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    net.append(nn.Linear(8 * 4 * 4, len(loader.dataset.manifest.classes)))
    model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9))
    accelerator.register_for_checkpointing(loader)
    last, before = run / "last", run / "before"
    for saved in (last, before):
        if saved.exists():
            accelerator.load_state(str(saved))
            break
    for epoch in range(loader.epoch, epochs):
        loader.set_epoch(epoch)
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(images / 64), labels, reduction="sum") / loader.global_size
            optimizer.zero_grad()
            accelerator.backward(loss * loader.world_size)  # DDP takes the mean over the ranks
            optimizer.step()
            accelerator.save_state(str(run / "new"))
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:  # a kill leaves `last`, or `before`
                shutil.rmtree(before, ignore_errors=True)
                if last.exists():
                    last.rename(before)
                (run / "new").rename(last)
            accelerator.wait_for_everyone()
        accelerator.print(f"epoch {epoch} is done")
    accelerator.end_training()


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]))
