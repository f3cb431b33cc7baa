"""A first look at a device, in a process of its own: what it is, how DALI decodes there, and a step in each precision.

Arguments: DATASET, DEVICE, WIDTH. Prints JSON. Set DALI_NVIMGCODEC_LOG_LEVEL to see the decoders in the error output.
"""

import json
import math
import sys
from typing import Any

import torch

from freelight.benchmarks.device import device_facts
from freelight.benchmarks.machine import DALI_WHEEL, machine_facts
from freelight.benchmarks.step import PRECISIONS, Step, random_batch
from freelight.pipeline import CenterCrop, Lighting, Loader, RandomCrop, RandomResizedCrop, Transform, resolve_device
from freelight.shards import Dataset
from freelight.train import RECIPES, use_large_pages

OFF = Lighting(mode="off")
CROPS = {"random crop": RandomCrop(), "center crop": CenterCrop(), "random resized crop": RandomResizedCrop()}
BATCH = 16


def compare_pixels(dataset: Dataset, device: torch.device) -> dict[str, float]:
    """Return the mean absolute difference between a batch of the device and the CPU's, grey levels, by crop."""
    found = {}
    for name, crop in CROPS.items():
        transform = Transform(crop=crop, mean="none", lighting=OFF, dtype="uint8")
        ours, theirs = (
            next(iter(Loader(dataset, "train", batch_size=BATCH, transform=transform, device=where))).images
            for where in (torch.device("cpu"), device)
        )
        found[name] = float((ours.int() - theirs.cpu().int()).abs().float().mean())
    return found


def losses(device: torch.device, width: float) -> dict[str, list[float]]:
    """Return the loss of three steps on one batch, by precision."""
    images, labels = random_batch(BATCH, device)
    found: dict[str, list[float]] = {}
    for precision in PRECISIONS:
        recipe = RECIPES["paper"].override([f"width={width}", f"precision={precision}"])
        step, found[precision] = Step(recipe, compile_=False, device=device), []
        for _ in range(3):
            step(images, labels)
            found[precision].append(float(step.loss))
    return found


def main() -> None:
    """Look, and print what is found. Exit code 1 if pixels or losses are wrong."""
    use_large_pages()
    folder, name, width = sys.argv[1:]
    device = resolve_device(name)
    found: dict[str, Any] = {
        **machine_facts((DALI_WHEEL, "torch", "numpy")),
        **device_facts(device),
        "pixels_off": compare_pixels(Dataset(folder), device),
        "losses": losses(device, float(width)),
    }
    print(json.dumps(found))
    if max(found["pixels_off"].values()) > 1:
        sys.exit("pixels differ from the CPU's by more than a grey level in the mean")
    if not all(math.isfinite(loss) for losses_of in found["losses"].values() for loss in losses_of):
        sys.exit("a loss is not finite")


if __name__ == "__main__":
    main()
