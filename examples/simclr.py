"""Train torchvision's ResNet-50 without labels (SimCLR): `torchrun --nproc-per-node 8 examples/simclr.py DATASET RUN`.

Repeat the command to resume. Published for ImageNet and 1,000 epochs, not run here: 69.3 % top-1 with a linear
classifier (Chen et al., 2020); 60.7 % with nearest neighbours (Caron et al., 2021), which are counted here.
`make_shards --geometry shorter`.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torchvision
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import freelight.pipeline as fl
from freelight.shards import Dataset


def transform(crop: fl.Crop, *ops: fl.Op) -> fl.Transform:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # RGB, 0-255 units
    return fl.Transform(crop=crop, mean=mean, std=std, lighting=fl.Lighting(mode="off"), ops=ops)


def gather(values: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, in order of rank. The gradient flows to this process's rows alone."""
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values.detach())
    parts[dist.get_rank()] = values
    return torch.cat(parts)


def nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """Return the loss of the global batch. first, second: projections of the two views of this process's images."""
    views = torch.cat([gather(nn.functional.normalize(view.float())) for view in (first, second)])
    scores = (views @ views.T / temperature).fill_diagonal_(-torch.inf)
    partners = torch.arange(len(views), device=views.device).roll(len(views) // 2)
    return nn.functional.cross_entropy(scores, partners)


def neighbours(embed: Callable[[torch.Tensor], torch.Tensor], bank: fl.Loader, val: fl.Loader) -> float:
    """Return the share of val that its 20 nearest training images classify right, percent. embed: images to (n, d)."""
    found = [(embed(images), labels) for images, labels in bank]
    features, classes = (gather(torch.cat(part)) for part in zip(*found, strict=True))
    right = torch.zeros((), device=val.device)
    for images, labels in val:
        nearest = (embed(images) @ features.T).topk(20)
        votes = torch.zeros(len(labels), int(classes.max()) + 1, device=val.device)
        votes.scatter_add_(1, classes[nearest.indices], (nearest.values / 0.07).exp())
        right += (votes.argmax(dim=1) == labels).sum()
    dist.all_reduce(right)
    return 100 * right.item() / len(val.split)


def train(args: argparse.Namespace) -> None:
    dataset, last = Dataset(args.dataset), args.run / "last.pt"
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bfloat16")
    size, shorter = round(args.scale * 224), round(args.scale * 256)
    jitter = fl.ColorJitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8)
    crop = transform(fl.RandomResizedCrop(size=size), jitter, fl.Grayscale(p=0.2), fl.GaussianBlur(p=0.5))
    centre = transform(fl.CenterCrop(size=size, resize=shorter))
    views = fl.Views((crop, 2))
    loader = fl.Loader(dataset, "train", batch_size=args.batch, transform=views, last="drop", device=device)
    fixed = {"batch_size": args.batch, "transform": centre, "order": "sequential", "device": device}
    bank, val = fl.Loader(dataset, "train", last="even", **fixed), fl.Loader(dataset, "val", last="short", **fixed)

    torch.manual_seed(0)
    net = torchvision.models.get_model(args.model)
    width, net.fc = net.fc.in_features, nn.Identity()
    whole = nn.Sequential(net, nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 128)).to(device)
    if device.type == "cuda":
        whole = nn.SyncBatchNorm.convert_sync_batchnorm(whole)
    model = DistributedDataParallel(whole)
    lr = 0.3 * args.batch / 256
    optimizer = create_optimizer_v2(whole, "lars", lr=lr, weight_decay=1e-6, momentum=0.9)
    scheduler, _ = create_scheduler_v2(optimizer, num_epochs=args.epochs, warmup_epochs=min(10, args.epochs // 2))
    parts = {"net": whole, "optimizer": optimizer, "loader": loader}
    if last.exists():
        saved = torch.load(last, map_location=device)
        for name, part in parts.items():
            part.load_state_dict(saved[name])

    def embed(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), autocast:
            features = net.eval()(images)
        return nn.functional.normalize(features.float())

    for epoch in range(loader.epoch, args.epochs):
        loader.set_epoch(epoch)
        scheduler.step(epoch)
        for step, ((first, second), _) in enumerate(loader, loader.position // loader.batch_size + 1):
            with autocast:
                projections = model.train()(torch.cat([first, second])).chunk(2)
            optimizer.zero_grad()
            # DDP takes the mean over the processes; each has the gradient of its own rows of the global loss.
            (nt_xent(*projections) * dist.get_world_size()).backward()
            optimizer.step()
            if dist.get_rank() == 0 and (step == len(loader) or step % args.save_every == 0):
                torch.save({name: part.state_dict() for name, part in parts.items()}, f"{last}.new")
                os.replace(f"{last}.new", last)
        right = neighbours(embed, bank, val)
        if dist.get_rank() == 0:
            print(f"epoch {epoch}: {right:.2f} % of val are right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("run", type=Path, help="folder of the checkpoint, last.pt")
    parser.add_argument("--model", default="resnet50", help="a ResNet of torchvision [default: resnet50]")
    parser.add_argument("--epochs", type=int, default=1000, help="[default: 1000]")
    parser.add_argument("--batch", type=int, default=4096, help="images of a step, over all processes [default: 4096]")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all sizes of crops [default: 1]")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16", help="[default: bfloat16]")
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints [default: 500]")
    arguments = parser.parse_args()
    arguments.run.mkdir(parents=True, exist_ok=True)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    train(arguments)
    dist.destroy_process_group()
