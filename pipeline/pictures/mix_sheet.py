"""The part of a transform's sheet that shows mixed batches, with the loader's pixels and labels."""

import numpy as np
import torch
from PIL import Image

from ...shards import Dataset, Statistics
from ..loader import Loader
from ..mix import Mix, Pairs
from ..schedule import Schedule
from ..views import parts_of
from .boxes import FAINT, below, beside, captioned, text_box, tile
from .preview import Preview
from .steps import shown

_TILE, _GAP, _NORMAL = 168, 8, 15


def draw_mixed(
    dataset: Dataset, split: str, schedule: Schedule, statistics: Statistics | None, mix: Mix, preview: Preview
) -> Image.Image:
    """Draw the first batches that a loader with `mix` gives, a row for each epoch, with the labels' shares.

    A batch has as many images as the sheet.
    """
    loader = Loader(
        dataset,
        split,
        batch_size=preview.rows,
        transform=schedule,
        statistics=statistics,
        mix=mix,
        seed=preview.seed,
        layout="NHWC",
        last="drop",
    )
    rows = [text_box(str(mix), _NORMAL, colour=FAINT)]
    with loader:
        for epoch in range(preview.draws):
            loader.set_epoch(epoch)
            images, labels = next(iter(loader))
            ((transform, _),) = parts_of(loader.transform)
            pictures = shown(images.float().numpy(), transform, statistics)
            shares = _shares(labels, len(dataset.manifest.classes))
            boxes = [
                captioned(tile(picture, _TILE), f"epoch {epoch}\n{_describe(share, dataset)}")
                for picture, share in zip(pictures, shares, strict=True)
            ]
            rows.append(beside(boxes, _GAP))
    return below(rows, _GAP)


def _shares(labels: torch.Tensor | Pairs, classes: int) -> torch.Tensor:
    """Return the share of each class in the labels of each image: (n, classes)."""
    if isinstance(labels, torch.Tensor):
        return labels
    one_hot = torch.nn.functional.one_hot(torch.stack([labels.labels, labels.partners]), classes)
    return one_hot[0] * labels.weights[:, None] + one_hot[1] * (1 - labels.weights[:, None])


def _describe(share: torch.Tensor, dataset: Dataset) -> str:
    """Name the classes that have a share above that of all, unless it is below 0.005."""
    found = np.flatnonzero(share > max(float(share.min()) + 1e-4, 0.005))
    named = sorted(((float(share[label]), dataset.manifest.classes[label]) for label in found), reverse=True)
    return "\n".join(f"{part:.2f} {info.name if info.name.isascii() else info.id}" for part, info in named)
