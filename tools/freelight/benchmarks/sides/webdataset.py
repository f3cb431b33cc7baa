"""webdataset with torchvision's transforms, on the shards of make_shards."""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import webdataset

from freelight.benchmarks.sides.pictures import Part
from freelight.benchmarks.sides.settings import READERS, WORKERS
from freelight.benchmarks.sides.torchvision_steps import Steps

DISTRIBUTIONS = ("webdataset", "torchvision", "torch")


def convert(dataset: str, parts: Sequence[Part], out: str) -> None:
    """Nothing: it loads the dataset itself."""


@contextmanager
def open_loader(folder: str, crop: str, batch: int, output: str) -> Iterator[Any]:
    """Yield a loader of one epoch after another."""
    yield _loader([str(path) for path in sorted(Path(folder).glob("train-*.tar"))], crop, batch, output, WORKERS)


def _loader(shards: list[str], crop: str, batch: int, output: str, workers: int) -> Any:
    # A worker without a shard would be an error.
    stream = webdataset.WebDataset(shards, shardshuffle=len(shards), empty_check=False).shuffle(500)
    dataset = stream.to_tuple("jpg", "cls").map_tuple(Steps(crop, output), int)
    return torch.utils.data.DataLoader(dataset, batch, num_workers=workers, persistent_workers=True)


@contextmanager
def open_remote(url: str, endpoint: str, cache: str, limit: int, crop: str, batch: int, output: str) -> Iterator[Any]:
    """Yield a loader that reads over HTTP, as it does by default, without a cache."""
    base = url.replace("s3:/", endpoint)
    with urllib.request.urlopen(f"{base}/dataset.json") as answer:
        shards = [f"{base}/{shard['name']}" for shard in json.load(answer)["splits"]["train"]["shards"]]
    yield _loader(shards, crop, batch, output, READERS)
