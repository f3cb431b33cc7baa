"""SPDL's side: FFmpeg decodes, crops and flips files on threads; torchvision augments and normalizes."""

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import spdl.io  # type: ignore[import-not-found]  # it is in its own environment only
import torch
from spdl.pipeline import PipelineBuilder  # type: ignore[import-not-found]
from torchvision.transforms import v2  # type: ignore[import-not-found]

from freelight.benchmarks.sides.pictures import File, Part, read_part
from freelight.benchmarks.sides.settings import CROP, WORKERS
from freelight.benchmarks.sides.torchvision_steps import later_steps

DISTRIBUTIONS = ("spdl", "torchvision", "torch")
LISTING = "files.json"


def convert(dataset: str, parts: Sequence[Part], out: str) -> None:
    """Write each JPEG as a file: it has no format of its own."""
    files: list[File] = []
    Path(out).mkdir(parents=True)
    for number, part in enumerate(parts):
        path = Path(out, f"{number}.jpg")
        path.write_bytes(read_part(part))
        files.append((str(path), part[-1]))
    Path(out, LISTING).write_text(json.dumps(files), encoding="utf-8")


def _filter(crop: str, width: int, height: int) -> str:
    """Draw a window and a flip, as FFmpeg writes them."""
    if crop == "resized":
        top, left, high, wide = v2.RandomResizedCrop.get_params(
            torch.empty(1, height, width), scale=[0.08, 1.0], ratio=[3 / 4, 4 / 3]
        )
    else:
        top, left, high, wide = random.randint(0, height - CROP), random.randint(0, width - CROP), CROP, CROP
    steps = [f"crop={wide}:{high}:{left}:{top}:exact=1"]
    steps += [f"scale={CROP}:{CROP}:flags=bilinear"] if crop == "resized" else []
    steps += ["hflip"] if random.random() < 0.5 else []
    return ",".join([*steps, "format=pix_fmts=rgb24"])


class Epochs:
    """Yields an epoch's batches, each time it is iterated."""

    def __init__(self, files: list[File], crop: str, batch: int, output: str) -> None:
        self.files, self.crop, self.batch = files, crop, batch
        self.later = v2.Compose(later_steps(output)) if output != "uint8" else None
        self.each = output == "rand"  # each image draws its own operations

    def load(self, files: list[File]) -> tuple[Any, Any]:
        """Return the images and labels of a batch."""
        frames = []
        for path, _ in files:
            packets = spdl.io.demux_image(path)
            frames.append(spdl.io.decode_packets(packets, _filter(self.crop, packets.width, packets.height)))
        images = spdl.io.to_torch(spdl.io.convert_frames(frames)).permute(0, 3, 1, 2)
        if self.later is None:
            images = images.contiguous()
        elif self.each:
            images = torch.stack([self.later(image) for image in images])
        else:
            images = self.later(images)
        return images, torch.tensor([label for _, label in files])

    def __iter__(self) -> Iterator[Any]:
        """Draw the order of an epoch and yield its batches."""
        shuffled = random.sample(self.files, len(self.files))
        builder = PipelineBuilder().add_source(shuffled).aggregate(self.batch).pipe(self.load, concurrency=WORKERS)
        pipeline = builder.add_sink(2).build(num_threads=WORKERS)
        with pipeline.auto_stop():
            yield from pipeline


@contextmanager
def open_loader(folder: str, crop: str, batch: int, output: str) -> Iterator[Any]:
    """Yield a loader of one epoch after another."""
    files = [(path, label) for path, label in json.loads(Path(folder, LISTING).read_text(encoding="utf-8"))]
    yield Epochs(files, crop, batch, output)
