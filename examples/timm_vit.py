"""Train a timm model by a published recipe: `torchrun --nproc-per-node 8 examples/timm_vit.py DATASET RUN`.

Repeat the command to resume. Top-1 on ImageNet as published, not run here; `make_shards --geometry shorter`:
deit: 79.9 %, DeiT-small
a3: 78.1 %, ResNet-50 by procedure A3 of "ResNet strikes back"
"""

import argparse
import os
from pathlib import Path

import timm
import torch
import torch.distributed as dist
from timm.loss import BinaryCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import freelight.pipeline as fl
from freelight.shards import Dataset

# batch: of all processes, with the learning rate for it. train and test: crops, pixels.
RECIPES = {
    "deit": {
        # DeiT's batch of 1,024 is no multiple of its 3 repeats; its rate is 0.0005 for 512 images.
        "model": "deit_small_patch16_224", "epochs": 300, "batch": 1008, "drop_path": 0.1,
        "optimizer": "adamw", "lr": 5e-4 * 1008 / 512, "min_lr": 1e-5, "warmup_lr": 1e-6, "decay": 0.05,
        "train": 224, "test": 224, "crop_pct": 0.875, "repeats": 3,
        "ops": (fl.TimmRandAugment.parse("rand-m9-mstd0.5-inc1"),
                fl.RandomErasing(p=0.25, scale=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3), value="random")),
        "mix": fl.Mix(mixup_alpha=0.8, cutmix_alpha=1.0),
        "loss": nn.CrossEntropyLoss(label_smoothing=0.1),
    },
    "a3": {
        "model": "resnet50", "epochs": 100, "batch": 2048, "drop_path": 0.0,
        "optimizer": "lamb", "lr": 8e-3, "min_lr": 1e-6, "warmup_lr": 1e-4, "decay": 0.02,
        "train": 160, "test": 224, "crop_pct": 0.95, "repeats": 1,
        "ops": (fl.TimmRandAugment.parse("rand-m6-mstd0.5-inc1"),),
        "mix": fl.Mix(mixup_alpha=0.1, cutmix_alpha=1.0),
        "loss": BinaryCrossEntropy(smoothing=0.0, target_threshold=0.2),
    },
}  # fmt: skip


def transform(crop: fl.Crop, *ops: fl.Op) -> fl.Transform:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # RGB, 0-255 units
    return fl.Transform(crop=crop, mean=mean, std=std, lighting=fl.Lighting(mode="off"), ops=ops)


def train(args: argparse.Namespace) -> None:
    recipe, dataset, last = RECIPES[args.recipe], Dataset(args.dataset), args.run / "last.pt"
    epochs, batch = args.epochs or recipe["epochs"], args.batch or recipe["batch"]
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bfloat16")
    size, test = (round(args.scale * recipe[name]) for name in ("train", "test"))
    crop = transform(fl.RandomResizedCrop(size=size, interpolation="bicubic"), *recipe["ops"])
    centre = transform(fl.CenterCrop(size=test, crop_pct=recipe["crop_pct"], interpolation="bicubic"))
    steps = len(dataset.split("train")) // batch  # with repeats, an epoch has a share of the samples
    loader = fl.Loader(dataset, "train", batch_size=batch, transform=crop, repeats=recipe["repeats"],
                       mix=recipe["mix"], steps_per_epoch=steps, last="drop", device=device)  # fmt: skip
    val = fl.Loader(dataset, "val", batch_size=batch, transform=centre, order="sequential", last="short", device=device)

    torch.manual_seed(0)
    settings = {"img_size": size} if args.recipe == "deit" else {}
    net = timm.create_model(args.model or recipe["model"], num_classes=len(dataset.manifest.classes),
                            drop_path_rate=recipe["drop_path"], **settings)  # fmt: skip
    model = DistributedDataParallel(net.to(device))
    lr = recipe["lr"] * batch / recipe["batch"]
    optimizer = create_optimizer_v2(net, recipe["optimizer"], lr=lr, weight_decay=recipe["decay"])
    scheduler, _ = create_scheduler_v2(optimizer, num_epochs=epochs, warmup_epochs=min(5, epochs // 2),
                                       warmup_lr=recipe["warmup_lr"], min_lr=recipe["min_lr"])  # fmt: skip
    parts = {"net": net, "optimizer": optimizer, "loader": loader}
    if last.exists():
        saved = torch.load(last, map_location=device)
        for name, part in parts.items():
            part.load_state_dict(saved[name])

    for epoch in range(loader.epoch, epochs):
        loader.set_epoch(epoch)
        scheduler.step(epoch)
        for step, (images, labels) in enumerate(loader, loader.position // batch + 1):
            torch.manual_seed(epoch * steps + step)  # dropped paths of a step do not depend on where a run resumed
            with autocast:
                loss = recipe["loss"](model.train()(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if dist.get_rank() == 0 and (step == steps or step % args.save_every == 0):
                torch.save({name: part.state_dict() for name, part in parts.items()}, f"{last}.new")
                os.replace(f"{last}.new", last)
        right = torch.zeros((), device=device)
        with torch.no_grad(), autocast:
            for images, labels in val:
                right += (net.eval()(images).argmax(dim=1) == labels).sum()
        dist.all_reduce(right)
        if dist.get_rank() == 0:
            print(f"epoch {epoch}: {100 * right.item() / len(val.split):.2f} % of val are right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("run", type=Path, help="folder of the checkpoint, last.pt")
    parser.add_argument("--recipe", choices=RECIPES, default="deit", help="[default: deit]")
    parser.add_argument("--model", help="[default: the recipe's]")
    parser.add_argument("--epochs", type=int, help="[default: the recipe's]")
    parser.add_argument("--batch", type=int, help="images of a step, over all processes [default: the recipe's]")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all sizes of crops [default: 1]")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16", help="[default: bfloat16]")
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints [default: 500]")
    arguments = parser.parse_args()
    arguments.run.mkdir(parents=True, exist_ok=True)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    train(arguments)
    dist.destroy_process_group()
