"""Train torchvision's ResNet-18 for the claim `reuse`. The loader of the training images is all that differs.

Run by torchvision's environment, to which PACKAGES, the folder of ours, is added. Arguments: the loader, the
augmentation, ImageFolder's folder, the same images as a dataset, seed, epochs, batch size, crop in pixels, and the file
to write. The validation images always come from torchvision, in the order of `ImageFolder`.
"""

import hashlib
import json
import os
import site
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

site.addsitedir(os.environ["PACKAGES"])

import torch
import torch.nn.functional as F
import torchvision  # type: ignore[import-not-found]  # it is in its own environment only
from torch.utils.data import DataLoader
from torchvision.transforms import v2  # type: ignore[import-not-found]

import freelight.pipeline as fl
from freelight.shards import Dataset

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""As shares; ours take 0-255 units."""
WORKERS = 2
NORMALIZE = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]


def torchvision_batches(strong: bool, images: str, seed: int, epochs: int, batch: int, crop: int) -> Batches:
    """Yield the batches of all epochs."""
    first = [v2.RandomResizedCrop(crop), v2.RandomHorizontalFlip()]
    train = v2.Compose([*first, v2.RandAugment(), *NORMALIZE, v2.RandomErasing(0.25)] if strong else first + NORMALIZE)
    folder = torchvision.datasets.ImageFolder(Path(images, "train"), train)
    mixup = v2.MixUp(alpha=0.2, num_classes=len(folder.classes))
    loader = DataLoader(folder, batch, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True)
    for _ in range(epochs):
        for batch_images, labels in loader:
            yield mixup(batch_images, labels) if strong else (batch_images, labels)


def freelight_batches(strong: bool, dataset: str, seed: int, epochs: int, batch: int, crop: int) -> Batches:
    """Yield the batches of all epochs."""
    transform = fl.Transform(
        crop=fl.RandomResizedCrop(size=crop),
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        lighting=fl.Lighting(mode="off"),
        ops=(fl.RandAugment(), fl.RandomErasing(p=0.25)) if strong else (),
    )
    mix = fl.Mix(mixup_alpha=0.2) if strong else None
    source = Dataset(Path(dataset))
    loader = fl.Loader(
        source, "train", batch_size=batch, transform=transform, mix=mix, seed=seed, last="drop", num_threads=WORKERS
    )
    for _ in range(epochs):
        yield from loader


def main() -> None:
    """Train, test, and write the result."""
    name, augmentation, images, dataset, *numbers, out = sys.argv[1:]
    seed, epochs, batch, crop = map(int, numbers)
    torch.set_num_threads(WORKERS)
    torch.manual_seed(seed)
    val = torchvision.datasets.ImageFolder(
        Path(images, "val"), v2.Compose([v2.Resize(round(crop / 0.875)), v2.CenterCrop(crop), *NORMALIZE])
    )
    net = torchvision.models.resnet18(num_classes=len(val.classes))
    state = b"".join(value.numpy().tobytes() for value in net.state_dict().values())
    train = len(Dataset(Path(dataset)).split("train"))
    steps = epochs * (train // batch)
    # torchvision's recipe for ResNets: weight decay 1e-4, momentum 0.9; here with one cycle of the learning rate.
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
    kind, source = (torchvision_batches, images) if name == "torchvision" else (freelight_batches, dataset)
    batches = kind(augmentation == "strong", source, seed, epochs, batch, crop)
    first, waited, began = 0.0, 0.0, time.perf_counter()
    for step in range(steps):
        asked = time.perf_counter()
        batch_images, labels = next(batches)
        if step:
            waited += time.perf_counter() - asked
        else:  # the start of the loader
            first, began = time.perf_counter() - asked, time.perf_counter()
        loss = F.cross_entropy(net(batch_images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - began
    right: list[bool] = []
    with torch.no_grad():
        for val_images, val_labels in DataLoader(val, batch, num_workers=WORKERS):
            right += (net.eval()(val_images).argmax(dim=1) == val_labels).tolist()
    result: dict[str, Any] = {
        "classes": val.classes,
        "initial_weights": hashlib.sha256(state).hexdigest(),
        "right": right,
        "final_loss": loss.item(),
        "images_per_second": (steps - 1) * batch / seconds,
        "wait": waited / seconds,
        "first_batch_seconds": first,
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
    }
    Path(out).write_text(json.dumps(result), encoding="ascii")


if __name__ == "__main__":
    main()
