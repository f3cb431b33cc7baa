"""What the loader's tests share: small, quick crops, and a record of the batches."""

import threading
import zlib
from collections.abc import Iterable
from typing import Any

from freelight.pipeline import Batch, Lighting, Loader, RandomCrop, Transform
from freelight.shards import Dataset

# Small crops are quick to decode, and their pixels still identify picture, offset and flip.
SMALL = Transform(crop=RandomCrop(size=96), mean="none", lighting=Lighting(mode="off"), dtype="uint8")


def make(dataset: Dataset, split: str = "train", *, batch_size: int = 16, **settings: Any) -> Loader:
    return Loader(dataset, split, batch_size=batch_size, **{"transform": SMALL, "extras": ("samples",), **settings})


def resume(loader: Loader) -> Loader:
    """Let the next iteration continue after the last batch."""
    loader.load_state_dict(loader.state_dict())
    return loader


class Seen(dict[int, tuple[int, int]]):
    """What batches held: label and checksum of the pixels, by sample. A sample that comes twice is a failure."""

    def __init__(self, batches: Iterable[Batch] = ()) -> None:
        super().__init__()
        self.add_all(batches)

    def add_all(self, batches: Iterable[Batch]) -> "Seen":
        for batch in batches:
            self.add(batch)
        return self

    def add(self, batch: Batch) -> None:
        for image, label, sample in zip(batch.images, batch.labels, batch.samples.tolist(), strict=True):
            assert sample not in self, f"sample {sample} came twice"
            self[sample] = (int(label), zlib.crc32(image.numpy()))


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("freelight-")]
