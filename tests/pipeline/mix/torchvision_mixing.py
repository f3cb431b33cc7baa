"""Mix batches by torchvision's v2 MixUp and CutMix; run in the environment of `tools/benchmark peers torchvision`.

torchvision_mixing.py IN.npz OUT.npz: for each number, `images`, `labels`, `kind`; and, in place of its own draws,
`share`, of Beta, and `column` and `row` of the box's centre.
"""

import sys

import numpy as np
import torch
from torchvision.transforms import v2

if __name__ == "__main__":
    given = np.load(sys.argv[1])
    made = {}
    for number in range(int(given["count"])):
        mixing = {"mixup": v2.MixUp, "cutmix": v2.CutMix}[str(given[f"kind{number}"])](num_classes=10)
        mixing._dist.sample = lambda shape, share=float(given[f"share{number}"]): torch.tensor(
            share, dtype=torch.float64
        )
        center = iter([given[f"column{number}"], given[f"row{number}"]])
        torch.randint = lambda high, size, center=center: torch.from_numpy(next(center)).reshape(size)
        images, labels = mixing(torch.from_numpy(given[f"images{number}"]), torch.from_numpy(given[f"labels{number}"]))
        made |= {f"images{number}": images.numpy(), f"labels{number}": labels.numpy()}
    np.savez(sys.argv[2], **made)
