"""Arguments that cannot work are refused when the loader is made."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from loading import make

from freelight.pipeline import Lighting, RandomCrop, Transform
from freelight.shards import Dataset, FreelightError, Statistics


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, r"`batch_size` \(=0\) must be at least 1"),
        ({"rank": 2, "world_size": 2}, r"`rank` \(=2\) must lie in 0..world_size-1 \(`world_size`=2\)"),
        ({"rank": -1, "world_size": 1}, r"`rank` \(=-1\) must be at least 0"),
        ({"rank": 0, "world_size": 0}, r"`world_size`=0"),
        ({"world_size": 2}, r"give both `rank` \(=None\) and `world_size` \(=2\), or neither"),
        ({"last": "long"}, "`last` 'long' is not one of short, drop, even"),
        ({"steps_per_epoch": 0}, r"`steps_per_epoch` \(=0\) must be at least 1"),
        ({"extras": ("sample",)}, r"`extras` \('sample',\) is not a tuple of names from: samples"),
        ({"extras": "samples"}, "`extras` 'samples' is not a tuple of names"),
        ({"extras": None}, "`extras` None is not a tuple of names"),
        ({"group": 3}, r"`group` \(=3\) must be a process group"),
        ({"steps_per_epoch": 2.0}, r"`steps_per_epoch` \(=2.0\) must be a whole number"),
        ({"num_threads": 0}, r"`num_threads` \(=0\) must be at least 1"),
        ({"prefetch": -1}, r"`prefetch` \(=-1\) must be at least 0"),
        ({"order": "random"}, "`order` 'random' is not one of global, sequential"),
        ({"layout": "HWC"}, "`layout` 'HWC' is not one of NCHW, NHWC"),
        ({"device": "meta"}, "`device` 'meta' is neither the CPU nor a CUDA device"),
        (
            {"transform": Transform(crop=RandomCrop(size=257), mean="none", lighting=Lighting(mode="off"))},
            "a crop of 257 pixels does not",
        ),
        (
            {"batch_size": 61, "last": "drop"},
            "the split has 60 samples, too few for a batch of 61 on 1 ranks with last='drop': use smaller batches",
        ),
        ({"batch_size": 4.0}, r"`batch_size` \(=4.0\) must be a whole number"),
        ({"batch_size": True}, r"`batch_size` \(=True\) must be a whole number"),
        ({"batch_size": float("nan")}, r"`batch_size` \(=nan\) must be a whole number"),
        ({"seed": None}, r"`seed` \(=None\) must be a whole number"),
        ({"seed": -1}, r"`seed` \(=-1\) must be at least 0"),
        ({"rank": 0.0, "world_size": 1}, r"`rank` \(=0.0\) must be a whole number"),
        ({"num_threads": 10**9}, r"`num_threads` \(=1000000000\) must be at most 4096"),
        ({"prefetch": 10**9}, r"`prefetch` \(=1000000000\) must be at most 1024"),
        ({"max_skipped": 0.5}, r"`max_skipped` \(=0.5\) must be a whole number"),
        ({"steps_per_epoch": 1.5}, r"`steps_per_epoch` \(=1.5\) must be a whole number"),
        ({"check_exchange": None}, r"`check_exchange` \(=None\) must be true or false"),
        ({"transform": "crop"}, r"`transform` \(='crop'\) must be a Transform"),
        ({"statistics": {}}, r"`statistics` \(=\{\}\) must be a Statistics"),
        ({"device": "gpu"}, "`device` 'gpu' is neither the CPU nor a CUDA device"),
        ({"device": None}, "`device` 'None' is neither the CPU nor a CUDA device"),
        ({"on_error": "ignore"}, "`on_error` 'ignore' is not one of raise, skip"),
        ({"max_skipped": -1}, r"`max_skipped` \(=-1\) must be at least 0"),
    ],
)
def test_what_cannot_work_is_refused_when_the_loader_is_made(
    settings: dict[str, Any], message: str, dataset: Dataset
) -> None:
    with pytest.raises(FreelightError, match=message):
        make(dataset, **settings)


def test_numpys_numbers_are_whole_numbers(dataset: Dataset) -> None:
    """They come out of arrays and tables of settings; the state must hold Python's, which JSON can write."""
    loader = make(dataset, batch_size=np.int64(16), seed=np.uint8(3), num_threads=np.int32(1))
    assert (loader.batch_size, loader.seed, loader.num_threads) == (16, 3, 1)
    assert json.loads(json.dumps(loader.state_dict())) == loader.state_dict()


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the device exists")
def test_a_gpu_that_is_not_there_is_named(dataset: Dataset) -> None:
    with pytest.raises(FreelightError, match="`device` 'cuda:1' is neither the CPU nor a CUDA device that torch finds"):
        make(dataset, device="cuda:1")


def test_an_unknown_split_and_a_foreign_mean_image_are_explained(dataset: Dataset, statistics: Statistics) -> None:
    with pytest.raises(FreelightError, match="has no split 'test'; it has: train, val"):
        make(dataset, "test")
    foreign = Statistics(**{**vars(statistics), "mean_image": statistics.mean_image[:128, :128]})
    with pytest.raises(FreelightError, match="mean image has side 128, the dataset's images 256"):
        make(dataset, transform=Transform(), statistics=foreign)
