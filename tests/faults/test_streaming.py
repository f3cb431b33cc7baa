"""Training in the windowed order through a small cache, from a store that stays slow or dead, and on several machines.

A whole chain of commands through a store that fails now and then is in `test_chain.py`.
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from jobs import Inject, Shell, assert_one_line
from runs import training
from stores import FaultyStore, Objects

from freelight.pipeline import Loader
from freelight.shards import Dataset

pytest.importorskip("moto")
pytest.importorskip("s3fs")

URL = "s3://bucket/small-shards"
WINDOWED = ("--order", "windowed", "--window", "10%", "--replicas", 2)


@pytest.fixture(scope="module")
def many(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of `images` in 40 shards of train, with statistics."""
    folder = tmp_path_factory.mktemp("many-shards")
    shell = Shell(folder / "shell")
    shell.succeed("make_shards", "--images", images, "--out", folder / "dataset", "--samples-per-shard", 5)
    shell.succeed("compute_pca", "--shards", folder / "dataset")
    return folder / "dataset"


@pytest.fixture(scope="module", autouse=True)
def stored(many: Path, objects: Objects) -> None:
    """The dataset is in the object store, at `URL`."""
    objects.put(many, URL.rpartition("/")[2])


@pytest.mark.parametrize("kind", ["trickles", "503"])
def test_a_store_that_stays_slow_or_dead_ends_with_one_line(
    kind: str, store: FaultyStore, shell: Shell, inject: Inject, tmp_path: Path
) -> None:
    """A shard that comes byte by byte never counts as an answer."""
    words = training(URL, tmp_path / "run", 1, *WINDOWED, "--cache", tmp_path / "cache", "--fetch-timeout", 6)
    store.plan(kind, "GET .*train.*tar")
    inject(f"{kind}: shards never come")
    ended = shell.run(*words)
    assert_one_line(ended, URL, "check the server")
    assert "follows in" in ended.stderr or kind == "trickles"
    shell.assert_no_leftover(tmp_path / "cache")


@pytest.mark.parametrize("machines", [1, 2, 4])
def test_each_machine_fetches_the_split_once_an_epoch(
    machines: int, many: Path, store: FaultyStore, inject: Inject, tmp_path: Path
) -> None:
    """Four ranks on so many machines, each with a small cache of its own: N machines fetch N times the split.

    On a busy machine a rank may begin seconds after its neighbour, and fetch again what that one has used: a shard or
    two of 41.
    """
    options = {"endpoint_url": store.environment["AWS_ENDPOINT_URL"], "key": "key", "secret": "secret"}
    shards = Dataset(many).manifest.splits["train"].shards
    split = sum(shard.bytes for shard in shards)
    ranks = [
        Loader(
            Dataset(
                URL,
                cache=tmp_path / str(rank * machines // 4),
                cache_bytes=12 * max(shard.bytes for shard in shards),
                storage_options=options,
            ),
            "train",
            batch_size=10,
            order="windowed",
            window=0.1,
            rank=rank,
            world_size=4,
            num_threads=1,
            extras=("samples",),
        )
        for rank in range(4)
    ]
    step = threading.Barrier(4)  # as the gradients' sum in training

    def read(loader: Loader) -> list[torch.Tensor]:
        return [batch.samples for batch in loader if step.wait() >= 0]

    with ThreadPoolExecutor(4) as threads:
        found = np.concatenate([samples for batches in threads.map(read, ranks) for samples in batches])
    assert np.array_equal(np.sort(found), np.arange(len(ranks[0].split)))
    gets, size = store.served(r"train-.*\.tar")
    print(json.dumps({"machines": machines, "gets": gets, "bytes": size, "split": split}))
    assert machines * split <= size <= 1.05 * machines * split
    for loader in ranks:
        loader.close()
    inject(f"{machines} machines")
