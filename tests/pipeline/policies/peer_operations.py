"""Run by the environment of torchvision and timm: change images by their own policies' operations.

Arguments: an npz with `images` (n, side, side, 3), and the npz to write. One image is used for each operation and
magnitude, in order; the rest of the result is what the operations are called and how strong they are.
"""

import json
import sys

import numpy as np
import timm.data.auto_augment as timm_policies
import torch
from PIL import Image
from torchvision.transforms import v2

BINS = (0, 9, 15, 20, 30)
MAGNITUDES = (0, 3, 5, 9, 10)


def by_torchvision(images):
    """Yield each operation of both spaces at five magnitudes, with both signs in turn."""
    for policy, wide in ((v2.RandAugment(), False), (v2.TrivialAugmentWide(), True), (v2.AutoAugment(), False)):
        side = images.shape[1]
        for name, (magnitudes, signed) in policy._AUGMENTATION_SPACE.items():
            if isinstance(policy, v2.AutoAugment) and name != "Invert":
                continue
            for number, place in enumerate(BINS):
                space = magnitudes(31, side, side)
                sign = number % 2 if signed else 0
                magnitude = 0.0 if space is None else float(space[place]) * (-1) ** sign
                image = torch.from_numpy(images[number]).permute(2, 0, 1)
                changed = policy._apply_image_or_video_transform(image, name, magnitude, "nearest", policy._fill)
                yield [name, wide, place, sign], changed.permute(1, 2, 0).numpy()


def by_timm(images):
    """Yield each operation at five magnitudes, with a positive sign and the nearest pixel."""
    timm_policies._randomly_negate = lambda value: value
    hparams = {"img_mean": (124, 116, 104), "interpolation": Image.Resampling.NEAREST}
    for increasing, names in ((0, timm_policies._RAND_TRANSFORMS), (1, timm_policies._RAND_INCREASING_TRANSFORMS)):
        for name in names:
            for number, magnitude in enumerate(MAGNITUDES):
                operation = timm_policies.AugmentOp(name, prob=1.0, magnitude=magnitude, hparams=hparams)
                try:
                    changed = np.asarray(operation(Image.fromarray(images[number])))
                except ValueError:  # Pillow does not keep 0 bits
                    changed = np.zeros_like(images[number])
                yield [name.removesuffix("Increasing").removesuffix("Rel"), increasing, magnitude], changed


def main():
    images = np.load(sys.argv[1])["images"]
    torchvision_names, torchvision_images = zip(*by_torchvision(images), strict=True)
    timm_names, timm_images = zip(*by_timm(images), strict=True)
    pairs = [[[*half[:2], half[2] or 0] for half in pair] for pair in v2.AutoAugment()._policies]
    np.savez(
        sys.argv[2],
        torchvision_names=json.dumps(torchvision_names),
        torchvision_images=np.stack(torchvision_images),
        timm_names=json.dumps(timm_names),
        timm_images=np.stack(timm_images),
        pairs=json.dumps(pairs),
    )


if __name__ == "__main__":
    main()
