"""Any processes, resume points and settings of speed give the same mixed batches, with policies and erasing too."""

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_reference import box_of

from freelight.pipeline import Loader, Mix, RandAugment, RandomErasing, RandomResizedCrop, Transform
from freelight.shards import Dataset

pytestmark = pytest.mark.slow

MIX = Mix(mixup_alpha=0.2, cutmix_alpha=1.0, label_smoothing=0.1)
TRANSFORM = Transform(
    crop=RandomResizedCrop(size=32), mean="channel", ops=(RandAugment(n=2, magnitude=9), RandomErasing(p=0.25))
)
Steps = list[tuple[bytes, bytes, list[int]]]


def steps_of(loaders: list[Loader]) -> Steps:
    """Return the pixels, labels and samples of each global batch of the rest of the loaders' epoch."""
    return [
        (
            torch.cat([batch.images for batch in batches]).numpy().tobytes(),
            torch.cat([batch.labels for batch in batches]).numpy().tobytes(),
            torch.cat([batch.samples for batch in batches]).tolist(),
        )
        for batches in zip(*loaders, strict=True)
    ]


def loader_of(dataset: Dataset, **others: Any) -> Loader:
    return Loader(dataset, "train", transform=TRANSFORM, mix=MIX, extras=("samples",), **others)


@pytest.fixture(scope="module")
def whole(dataset: Dataset) -> Any:
    """Return the function that gives an epoch on one rank."""

    @functools.cache
    def steps(batch_size: int, repeats: int, last: str, epoch: int) -> Steps:
        loader = loader_of(dataset, batch_size=batch_size, repeats=repeats, last=last)
        loader.set_epoch(epoch)
        return steps_of([loader])

    return steps


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    batch_size=st.sampled_from([2, 10, 16, 60]),
    repeats=st.sampled_from([1, 2]),
    last=st.sampled_from(["short", "drop"]),
    epoch=st.integers(0, 1),
    world_size=st.sampled_from([1, 3, 4]),
    threads=st.integers(1, 3),
    prefetch=st.integers(0, 3),
    taken=st.integers(0, 30),
)
def test_mixed_batches_are_the_same_on_any_ranks_and_after_any_resumption(
    whole: Any,
    dataset: Dataset,
    batch_size: int,
    repeats: int,
    last: str,
    epoch: int,
    world_size: int,
    threads: int,
    prefetch: int,
    taken: int,
) -> None:
    expected = whole(batch_size, repeats, last, epoch)
    taken %= len(expected)
    plan: dict[str, Any] = {"batch_size": batch_size, "repeats": repeats, "last": last}
    state = loader_of(dataset, **plan).state_dict() | {"epoch": epoch, "position": taken * batch_size}
    ranks = []
    for rank in range(world_size):
        ranks.append(
            loader_of(dataset, rank=rank, world_size=world_size, num_threads=threads, prefetch=prefetch, **plan)
        )
        ranks[-1].load_state_dict(json.loads(json.dumps(state)))
    assert steps_of(ranks) == expected[taken:]


RANK = """
import sys
import numpy as np
import torch.distributed as dist
sys.path.insert(0, sys.argv[1])
from test_mixing_on_processes import loader_of
from freelight.shards import Dataset
rank = int(sys.argv[4])
dist.init_process_group("gloo", init_method="file://" + sys.argv[3] + "/store", rank=rank, world_size=2)
group = dist.group.WORLD if sys.argv[5] == "group" else None
made = {}
for number, batch in enumerate(loader_of(Dataset(sys.argv[2]), batch_size=15, last="short", group=group)):
    made |= {f"images{number}": batch.images.numpy(), f"labels{number}": batch.labels.numpy()}
np.savez(f"{sys.argv[3]}/{rank}.npz", **made)
dist.destroy_process_group()
"""


@pytest.mark.parametrize("shared", ["group", "shares"])
def test_two_processes_mix_as_one_does(shared: str, dataset: Dataset, tmp_path: Path) -> None:
    """Over gloo: each gets its share, or the whole batch."""
    arguments = [str(Path(__file__).parent), str(dataset.folder), str(tmp_path)]
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, *arguments, str(rank), shared]) for rank in range(2)]
    assert [rank.wait(timeout=300) for rank in ranks] == [0, 0]
    with np.load(tmp_path / "0.npz") as first, np.load(tmp_path / "1.npz") as second:
        for number, batch in enumerate(loader_of(dataset, batch_size=15)):
            for name, values in (("images", batch.images), ("labels", batch.labels)):
                parts = [first[f"{name}{number}"], second[f"{name}{number}"]]
                if shared == "group":
                    assert np.array_equal(*parts)
                    del parts[0]
                assert np.array_equal(np.concatenate(parts), values)


@pytest.mark.parametrize("seed", range(3))
def test_boxes_of_a_hundred_thousand_batches_have_torchvisions_areas(seed: int) -> None:
    """Against the law applied to numpy's own draws: mean, and the ten shares of areas, within four standard errors."""
    mix = Mix(cutmix_alpha=1.0)
    drawn = mix.table(seed=seed, epoch=0, batches=100_000)
    ours = np.array([1 - mix.blend(drawn, batch, 224, 224).weight for batch in range(100_000)])
    other = np.random.default_rng(seed)
    theirs = []
    for share, *center in zip(other.random(100_000), other.random(100_000), other.random(100_000), strict=True):
        top, left, bottom, right = box_of(share, (center[0], center[1]), 224, 224)
        theirs.append((bottom - top) * (right - left) / 224**2)
    assert abs(ours.mean() - np.mean(theirs)) < 4 * (2 * ours.var() / 1e5) ** 0.5
    edges = np.linspace(0, 1, 11)
    counts, expected = (np.histogram(areas, edges)[0] for areas in (ours, theirs))
    assert (np.abs(counts - expected) < 4 * (counts + expected + 1) ** 0.5).all()
