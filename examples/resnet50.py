"""Train torchvision's ResNet-50 by a published recipe: `torchrun --nproc-per-node 8 examples/resnet50.py DATASET RUN`.

Repeat the command to resume. Top-1 on ImageNet as published, not run here, and what makes the dataset:
v1: 76.13 %, torchvision's IMAGENET1K_V1; `make_shards --geometry shorter`
v2: 80.86 %, torchvision's IMAGENET1K_V2; `make_shards --geometry shorter`
ffcv: 78.4 %, FFCV's rn50_88_epochs; `make_shards --geometry longer --size 500`
"""

import argparse
import math
import os
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torchvision
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import freelight.pipeline as fl
from freelight.shards import Dataset

# batch: of all processes, with the learning rate for it. train: crop in the first and the last epochs, pixels. test:
# shorter side, and crop.
RECIPES = {
    "v1": {"epochs": 90, "batch": 256, "lr": 0.1, "decay": 1e-4, "norm_decay": 1e-4, "smoothing": 0.0,
           "train": (224, 224), "test": (256, 224), "ops": (), "repeats": 1, "mix": None},
    "v2": {"epochs": 600, "batch": 1024, "lr": 0.5, "decay": 2e-5, "norm_decay": 0.0, "smoothing": 0.1,
           "train": (176, 176), "test": (232, 224), "repeats": 4,
           "ops": (fl.TrivialAugmentWide(), fl.RandomErasing(p=0.1)), "mix": fl.Mix(mixup_alpha=0.2, cutmix_alpha=1.0)},
    "ffcv": {"epochs": 88, "batch": 4096, "lr": 1.7, "decay": 1e-4, "norm_decay": 0.0, "smoothing": 0.1,
             "train": (160, 192), "test": (292, 256), "ops": (), "repeats": 1, "mix": None},
}  # fmt: skip


def transform(crop: fl.Crop, *ops: fl.Op) -> fl.Transform:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # RGB, 0-255 units
    return fl.Transform(crop=crop, mean=mean, std=std, lighting=fl.Lighting(mode="off"), ops=ops)


def lr_factor(recipe: str, epoch: float, epochs: int) -> float:
    """Return the learning rate at a point of the training, as a share of the highest one."""
    if recipe == "v1":  # a tenth after each third
        return 0.1 ** int(3 * epoch / epochs)
    if recipe == "ffcv":  # linear from 0 and back, with the peak after two epochs
        return float(np.interp(epoch, [0, 2, epochs], [1e-4, 1, 0]))
    epoch, warmup = int(epoch), epochs / 120
    cosine = (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))) / 2
    return 0.01 + 0.99 * epoch / warmup if epoch < warmup else cosine


def blur_strides(module: nn.Module) -> None:
    """Blur the input of each convolution with a stride, except the first one's (FFCV's BlurPoolConv2d)."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.stride[0] > 1 and child.in_channels >= 16:
            blur = nn.Conv2d(child.in_channels, child.in_channels, 3, padding=1, groups=child.in_channels, bias=False)
            blur.weight.requires_grad_(False).copy_(torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16)
            setattr(module, name, nn.Sequential(blur, child))
        else:
            blur_strides(child)


def train(args: argparse.Namespace) -> None:
    recipe, dataset, last = RECIPES[args.recipe], Dataset(args.dataset), args.run / "last.pt"
    epochs, batch = args.epochs or recipe["epochs"], args.batch or recipe["batch"]
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bfloat16")
    first, final, shorter, test = (round(args.scale * size) for size in recipe["train"] + recipe["test"])
    crops = [transform(fl.RandomResizedCrop(size=size), *recipe["ops"]) for size in (first, final)]
    steps = len(dataset.split("train")) // batch  # with repeats, an epoch has a share of the samples
    schedule = fl.Schedule({0: crops[0], epochs * 71 // 88: crops[1]})
    loader = fl.Loader(dataset, "train", batch_size=batch, transform=schedule, repeats=recipe["repeats"],
                       mix=recipe["mix"], steps_per_epoch=steps, last="drop", device=device)  # fmt: skip
    centre = transform(fl.CenterCrop(size=test, resize=shorter))
    val = fl.Loader(dataset, "val", batch_size=batch, transform=centre, order="sequential", last="short", device=device)

    torch.manual_seed(0)
    net = torchvision.models.get_model(args.model, num_classes=len(dataset.manifest.classes))
    if args.recipe == "ffcv":
        blur_strides(net)
    model = DistributedDataParallel(net.to(device))
    groups = [{"params": [], "weight_decay": recipe[key]} for key in ("decay", "norm_decay")]
    for part in net.modules():
        groups[isinstance(part, nn.BatchNorm2d)]["params"] += part.parameters(recurse=False)
    optimizer = torch.optim.SGD(groups, lr=recipe["lr"] * batch / recipe["batch"], momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(args.recipe, step / steps, epochs))
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(1 - 2e-5 * batch / epochs), use_buffers=True)
    tested = average.module if args.recipe == "v2" else net
    parts = {"net": net, "optimizer": optimizer, "scheduler": scheduler, "average": average, "loader": loader}
    if last.exists():
        saved = torch.load(last, map_location=device)
        for name, part in parts.items():
            part.load_state_dict(saved[name])

    for epoch in range(loader.epoch, epochs):
        loader.set_epoch(epoch)
        for step, (images, labels) in enumerate(loader, loader.position // batch + 1):
            with autocast:
                loss = nn.functional.cross_entropy(model.train()(images), labels, label_smoothing=recipe["smoothing"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if args.recipe == "v2":
                average.n_averaged *= epoch >= epochs / 120  # during the warm-up, a copy
                average.update_parameters(net)
            if dist.get_rank() == 0 and (step == steps or step % args.save_every == 0):
                torch.save({name: part.state_dict() for name, part in parts.items()}, f"{last}.new")
                os.replace(f"{last}.new", last)
        right = torch.zeros((), device=device)
        with torch.no_grad(), autocast:
            for images, labels in val:
                scores = tested.eval()(images)
                if args.recipe == "ffcv":
                    scores += tested(images.flip(3))
                right += (scores.argmax(dim=1) == labels).sum()
        dist.all_reduce(right)
        if dist.get_rank() == 0:
            print(f"epoch {epoch}: {100 * right.item() / len(val.split):.2f} % of val are right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("run", type=Path, help="folder of the checkpoint, last.pt")
    parser.add_argument("--recipe", choices=RECIPES, default="v1")
    parser.add_argument("--model", default="resnet50", help="[default: resnet50]")
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
