"""Crop pictures with torchvision's v2 transforms; run in the environment of `tools/benchmark peers torchvision`.

torchvision_crops.py IN.npz OUT.npz: `names`, `windows` (crop, picture, 4), and one array per picture.
"""

import sys

import numpy as np
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

MODES = {"bilinear": v2.InterpolationMode.BILINEAR, "bicubic": v2.InterpolationMode.BICUBIC}


def crop(words: list[str], picture: torch.Tensor, window: list[int]) -> torch.Tensor:
    """Return (views, 3, 224, 224). words: kind, resize, interpolation. window: where the loader cut."""
    kind, resize, mode = words[0], int(words[1]), MODES[words[2]]
    if kind == "RandomResizedCrop":
        return functional.resized_crop(picture, *window, [224, 224], interpolation=mode, antialias=True)[None]
    picture = v2.Resize(resize, interpolation=mode, antialias=True)(picture)
    if kind == "RandomCrop":
        return functional.crop(picture, *window)[None]
    if kind == "CenterCrop":
        return v2.CenterCrop(224)(picture)[None]
    # The paper's reflections of five crops. torchvision's TenCrop crops the reflected picture,
    # so its middle may be a pixel off.
    top_left, top_right, bottom_left, bottom_right, middle = v2.FiveCrop(224)(picture)
    five = torch.stack([top_left, top_right, middle, bottom_left, bottom_right])
    return torch.cat([five, five.flip(-1)])


if __name__ == "__main__":
    given = np.load(sys.argv[1])
    made = {}
    for number, name in enumerate(given["names"].tolist()):
        made[name] = np.stack(
            [
                crop(name.split(), torch.from_numpy(given[str(place)]).permute(2, 0, 1), window.tolist()).numpy()
                for place, window in enumerate(given["windows"][number])
            ]
        )
    np.savez(sys.argv[2], **made)
