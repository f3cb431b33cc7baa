"""Run by the environment of torchvision: change images by its functional forms, and draw what it would erase.

torchvision_ops.py IN.npz OUT.npz: `images` (n, side, side, 3) and `cases`, JSON: for each image a list of steps
[function, numbers...], applied one after the other. Also returns `erased`: (5000, 4) top, left, height, width.
"""

import json
import sys

import numpy as np
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

FUNCTIONS = {
    "grayscale": lambda image: functional.rgb_to_grayscale(image, num_output_channels=3),
    "solarize": functional.solarize,
    "blur": lambda image, sigma: functional.gaussian_blur(image, kernel_size=[23, 23], sigma=[sigma, sigma]),
    "brightness": functional.adjust_brightness,
    "contrast": functional.adjust_contrast,
    "saturation": functional.adjust_saturation,
    "hue": functional.adjust_hue,
    "erase": lambda image, top, left, height, width, value: functional.erase(
        image, top, left, height, width, torch.full((1, 1, 1), value, dtype=image.dtype)
    ),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    with np.load(sys.argv[1]) as given:
        images, cases = given["images"], json.loads(str(given["cases"]))
    made = []
    for image, steps in zip(images, cases, strict=True):
        tensor = torch.from_numpy(image).permute(2, 0, 1)
        for name, *numbers in steps:
            tensor = FUNCTIONS[name](tensor, *numbers)
        made.append(tensor.permute(1, 2, 0).numpy())
    torch.manual_seed(0)
    erasing = v2.RandomErasing(p=1.0)
    drawn = [erasing.make_params([torch.zeros(3, 224, 224)]) for _ in range(5000)]
    erased = [[params[key] for key in "ijhw"] for params in drawn]
    np.savez(sys.argv[2], images=np.stack(made), erased=np.array(erased))
