#!/usr/bin/env python3
"""Print hashes of what Freelight computes: equal hashes at two revisions prove that a change kept every bit.

Run it with the Python of each revision's virtual environment, then compare the lines:

    OLD/.venv/bin/python tests/proof/prove_unchanged.py > old.txt
    NEW/.venv/bin/python tests/proof/prove_unchanged.py > new.txt
    diff old.txt new.txt

It needs the CPU only, no compiler, and about 3 minutes on two cores. Arguments select lines by their first letters.
Machine and library versions must be the same for both runs. `names.py` translates names that differ.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import names
import numpy as np
import torch

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
WIDTH = "0.125"
SIZES = {"imagenet": 256, "cifar": 32}  # side of the images, pixels

# 60 training images in batches of 16 are 4 steps an epoch, the last of 12 images: 12 steps in 3 epochs. The epochs at
# which a recipe changes rates or light come forward, so that these steps see them.
COMMON = "batch_size=16 epochs=3"
RECIPES = {
    "paper": ("imagenet", f"{COMMON} learning_rate=0.001 plateau_epochs=1"),
    "source": (
        "imagenet",
        f"{COMMON} learning_rate=0.001 bias_learning_rate=0.002 drop_epochs=1 bias_drop_epochs=1 lighting_off_epoch=1 "
        "conv1_slow_epoch=1 conv1_freeze_epoch=2",
    ),
    "cifar-11pct": ("cifar", f"{COMMON} drop_epochs=1 bias_drop_epochs=2"),
}
# The CIFAR networks have one column, so two processes hold two replicas.
PROCESSES = {
    "paper": ("--columns 1", "--columns 2", "--columns 2 --replicas 2"),
    "source": ("--columns 1", "--columns 2"),
    "cifar-11pct": ("--columns 1", "--replicas 2"),
}


def transforms() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return every kind of transform, with the loader's other settings."""
    new = names.find
    crop, lit, transform = new("RandomCrop"), new("Lighting"), new("Transform")
    off = lit(mode="off")
    rgb = (123.0, 117.0, 104.0)
    small, square = crop(size=64), new("CenterCrop")(size=64)
    return {
        "paper": (transform(), {}),
        "source": (
            transform(crop=crop(shared_by=32), mean="center window", lighting=lit(mode="std", divisor=1.1)),
            {"order": "sequential"},
        ),
        "image mean, lighting off, divided": (transform(crop=small, lighting=off, std=(58.0, 57.0, 55.0)), {}),
        "image mean, lighting std": (transform(crop=small, lighting=lit(mode="std", strength=0.2)), {}),
        "channel mean and std": (transform(crop=small, mean="channel", std=(58.0, 57.0, 55.0)), {}),
        "RGB mean, lighting off": (transform(crop=small, mean=rgb, lighting=off), {}),
        "uint8": (transform(crop=small, mean="none", lighting=off, dtype="uint8"), {}),
        "float16": (transform(crop=small, mean="channel", dtype="float16"), {}),
        "float16, image mean": (transform(crop=small, dtype="float16"), {}),
        "lighting divisor": (transform(crop=small, lighting=lit(divisor=1.1)), {}),
        "no flip": (transform(crop=small, flip_probability=0.0), {}),
        "centered": (transform(crop=crop(size=64, centered=True)), {}),
        "shared by 5": (transform(crop=crop(size=64, shared_by=5)), {}),
        "resized": (transform(crop=new("RandomResizedCrop")(size=64), mean="channel"), {}),
        "center crop": (transform(crop=square), {}),
        "center crop, uint8": (transform(crop=square, mean="none", lighting=off, dtype="uint8"), {}),
        "ten crops": (transform(crop=new("TenCrop")(size=64)), {}),
        "ten crops, channel mean": (transform(crop=new("TenCrop")(size=64), mean="channel", std=rgb), {}),
        "image mean, NHWC": (transform(crop=small), {"layout": "NHWC"}),
        "center window, NHWC": (transform(crop=small, mean="center window"), {"layout": "NHWC"}),
        "uint8, NHWC": (transform(crop=small, mean="none", lighting=off, dtype="uint8"), {"layout": "NHWC"}),
        "ten crops, NHWC": (transform(crop=new("TenCrop")(size=64)), {"layout": "NHWC"}),
        "last batch dropped": (transform(crop=small), {"last": "drop", "seed": 7}),
    }


def digest(parts: Iterator[Any]) -> str:
    """Hash texts, bytes, arrays (with dtype and shape) and tensors: 16 hex digits of SHA-256."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.Tensor):
            part = part.numpy()
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype} {part.shape}".encode())
            part = np.ascontiguousarray(part).data
        total.update(part.encode() if isinstance(part, str) else part)
    return total.hexdigest()[:16]


def run(name: str, *words: str | Path) -> None:
    """Run a command; stop with its output if it fails."""
    done = subprocess.run([*names.command(name), *words], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} {' '.join(map(str, words))}: {done.stdout}{done.stderr}")


def dataset(folder: Path) -> Iterator[Any]:
    """Yield the manifest without Freelight's version and later settings, and the content of every other file."""
    for path in sorted(folder.rglob("*")):
        if path.name == "dataset.json":
            content = json.loads(path.read_text())
            del content["sha256"]
            for later in ("freelight", "max_pixels", "reject_suspect", "metadata", "geometry", "enlarge"):
                content["made_with"].pop(later, None)
            yield json.dumps(content)
        elif path.is_file() and not path.name.startswith("statistics."):
            yield f"{path.name} {path.stat().st_size}"
            yield path.read_bytes()


def statistics(folder: Path) -> Iterator[Any]:
    """Yield the arrays of `statistics.npz`, by name."""
    with np.load(folder / "statistics.npz") as archive:
        for name in sorted(archive.files):
            yield name
            yield archive[name]


def batches(folder: Path, ranks: int, transform: Any, settings: dict[str, Any]) -> Iterator[Any]:
    """Yield images, labels and samples of three epochs on each of `ranks` ranks."""
    made = names.find("Dataset")(folder)
    common = {"batch_size": 16, "statistics": names.find("Statistics").load(folder), "world_size": ranks, "seed": 3}
    for rank in range(ranks):
        loader = names.loader(made, "train", transform=transform, rank=rank, **{**common, **settings})
        for epoch in range(3):
            for batch in loader:
                yield f"{rank} {epoch}"
                yield from (batch.images, batch.labels, np.asarray(batch.samples, np.int32))


def train(folder: Path, out: Path, recipe: str, processes: str) -> None:
    """Train 12 steps with the command."""
    words = f"--recipe {recipe} --no-compile --threads 1 --log-every 1 --width {WIDTH} {processes}"
    settings = [word for setting in RECIPES[recipe][1].split() for word in ("--set", setting)]
    run("train", "--shards", folder, "--out", out, *words.split(), *settings)


def training(out: Path) -> Iterator[Any]:
    """Yield the last weights and velocity, and every line of metrics without times."""
    checkpoint = torch.load(out / "last.pt", weights_only=True)
    assert checkpoint["progress"]["step"] == 12
    for kind in ("weights", "velocity"):
        for name, tensor in checkpoint[kind].items():
            yield f"{kind} {name}"
            yield tensor
    for line in (out / "metrics.jsonl").read_text().splitlines():
        yield json.dumps({key: value for key, value in json.loads(line).items() if names.is_compared(key)})


def ten_views(folder: Path, out: Path) -> Iterator[Any]:
    """Yield the probabilities, averaged over ten views, of the trained network for every image of val."""
    file = out / "predictions.npz"
    run("evaluate", "--checkpoint", out / "last.pt", "--shards", folder, "--views", "10", "--predictions", file)
    with np.load(file) as archive:
        yield archive["probabilities"]


def main(work: Path, wanted: tuple[str, ...]) -> None:
    def claim(name: str, content: Callable[[], Iterator[Any]]) -> None:
        if name.startswith(wanted or ""):
            print(f"{digest(content())}  {name}", flush=True)

    run("draw_pictures", "--out", work / "pictures", "--train-per-class", "6", "--val-per-class", "2")
    for kind, size in SIZES.items():
        words = f"--size {size} --samples-per-shard 16 --class-names {work / 'pictures/class-names.tsv'}"
        run("make_shards", "--images", work / "pictures", "--out", work / kind, *words.split())
        run("compute_pca", "--shards", work / kind)
        claim(f"shards: {kind}", lambda kind=kind: dataset(work / kind))
        claim(f"statistics: {kind}", lambda kind=kind: statistics(work / kind))
    for name, (transform, settings) in transforms().items():
        for ranks in (1, 3):
            arguments = work / "imagenet", ranks, transform, settings
            claim(f"batches: {name}, ranks {ranks}", lambda arguments=arguments: batches(*arguments))
    for recipe, (kind, _) in RECIPES.items():
        for processes in PROCESSES[recipe]:
            name, out = f"{recipe} {processes}", work / f"{recipe} {processes}"
            if f"training: {name}".startswith(wanted or "") or f"ten views: {name}".startswith(wanted or ""):
                train(work / kind, out, recipe, processes)
            claim(f"training: {name}", lambda out=out: training(out))
            claim(f"ten views: {name}", lambda out=out, kind=kind: ten_views(work / kind, out))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder), tuple(sys.argv[1:]))
