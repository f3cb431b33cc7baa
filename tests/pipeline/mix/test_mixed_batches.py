"""Mixed batches follow torchvision's law, written in numpy, on any number of ranks and after any resumption."""

import copy
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from mix_reference import draws_of, mix

from freelight.pipeline import (
    CenterCrop,
    ColorJitter,
    Layout,
    Lighting,
    Loader,
    Mix,
    RandomCrop,
    RandomErasing,
    TenCrop,
    Transform,
    draw_epoch,
)
from freelight.pipeline.blending import _in_pieces, _whole
from freelight.shards import Dataset, FreelightError, Split

MIX = Mix(mixup_alpha=0.8, cutmix_alpha=1.0, prob=0.8, label_smoothing=0.1)
OFF = Lighting(mode="off")
PLAIN = Transform(crop=RandomCrop(size=33), mean=(120.0, 110.0, 100.0), lighting=OFF)
WITH_OPS = Transform(
    crop=RandomCrop(size=33),
    mean=(120.0, 110.0, 100.0),
    lighting=OFF,
    ops=(ColorJitter(p=0.8, brightness=0.4), RandomErasing(p=0.7)),
)


def loader_of(dataset: Dataset, **settings: Any) -> Loader:
    return Loader(
        dataset,
        "train",
        **{"batch_size": 7, "transform": PLAIN, "seed": 3, "extras": ("samples",), "mix": MIX, **settings},
    )


def ranks_of(dataset: Dataset, world_size: int, **settings: Any) -> list[Loader]:
    return [loader_of(dataset, rank=rank, world_size=world_size, **settings) for rank in range(world_size)]


def steps_of(loaders: list[Loader]) -> list[tuple[bytes, bytes, list[int]]]:
    """Return the pixels, labels and samples of each global batch of the rest of the loaders' epoch."""
    return [
        (
            b"".join(batch.images.numpy().tobytes() for batch in batches),
            b"".join(batch.labels.numpy().tobytes() for batch in batches),
            [sample for batch in batches for sample in batch.samples.tolist()],
        )
        for batches in zip(*loaders, strict=True)
    ]


def planes_of(batch: Any, layout: Layout) -> npt.NDArray[Any]:
    images = batch.images.float().numpy()
    return np.moveaxis(images, -1, 1) if layout == "NHWC" else images


@pytest.mark.parametrize(
    ("layout", "dtype", "tolerance"),
    [("NCHW", "float32", 1e-4), ("NHWC", "float32", 1e-4), ("NCHW", "float16", 0.2), ("NCHW", "bfloat16", 2.0)],
)
def test_a_mixed_batch_is_the_reference(layout: Layout, dtype: Any, tolerance: float, dataset: Dataset) -> None:
    """Of what the loader returns without `mix`: batches of 7, and a last one of 4."""
    transform = Transform(crop=RandomCrop(size=33), mean=(120.0, 110.0, 100.0), lighting=OFF, dtype=dtype)
    plain = loader_of(dataset, mix=None, transform=transform, layout=layout)
    loader = loader_of(dataset, transform=transform, layout=layout)
    kinds = set()
    for number, (before, after) in enumerate(zip(plain, loader, strict=True)):
        drawn = draws_of(number, seed=3, epoch=0, mixup_alpha=0.8, cutmix_alpha=1.0)
        kinds.add((drawn.chance < 0.8) * (1 + (drawn.switch < 0.5)))
        images, labels = mix(
            planes_of(before, layout),
            before.labels.numpy(),
            drawn,
            classes=10,
            prob=0.8,
            switch_prob=0.5,
            smoothing=0.1,
        )
        assert after.images.dtype == getattr(torch, dtype)
        assert np.abs(planes_of(after, layout) - images).max() <= tolerance
        assert np.abs(after.labels.numpy() - labels).max() < 1e-6
        assert after.samples.tolist() == before.samples.tolist()
    assert kinds == {0, 1, 2}, "batches that are not mixed, by Mixup, and by CutMix"


@pytest.mark.parametrize("world_size", [3, 4, 9])
def test_a_batch_is_the_same_on_any_number_of_ranks(world_size: int, dataset: Dataset) -> None:
    """Shares of 7 samples are uneven, and on nine ranks some are empty. The other random ops are on."""
    alone = steps_of([loader_of(dataset, transform=WITH_OPS, num_threads=2, prefetch=3)])
    assert alone == steps_of(ranks_of(dataset, world_size, transform=WITH_OPS, num_threads=1, prefetch=1))


def test_mixing_resumes_at_any_batch_on_other_ranks(dataset: Dataset) -> None:
    alone = steps_of([loader_of(dataset)])
    loader = loader_of(dataset)
    states = [loader.state_dict() for _ in loader]
    for taken in (1, 5, 8):
        ranks = ranks_of(dataset, 2)
        for rank in ranks:
            rank.load_state_dict(json.loads(json.dumps(states[taken - 1])))
        assert steps_of(ranks) == alone[taken:]
    again = copy.deepcopy(loader_of(dataset))
    assert again.mix == MIX
    assert steps_of([again]) == alone


def test_a_state_of_another_mix_is_refused_inside_an_epoch(dataset: Dataset) -> None:
    loader = loader_of(dataset)
    next(iter(loader))
    state = loader.state_dict()
    for other in (None, Mix(mixup_alpha=0.8)):
        with pytest.raises(FreelightError, match=r"for another mix: .Mix\(mixup_alpha=0.8, cutmix_alpha=1.0.*, not"):
            loader_of(dataset, mix=other).load_state_dict(state)
        loader_of(dataset, mix=other).load_state_dict({**state, "position": 60})
    plain = loader_of(dataset, mix=None).state_dict()
    assert "mix" not in plain
    with pytest.raises(FreelightError, match="for another mix: None, not"):
        loader.load_state_dict({**plain, "position": 7})


@pytest.mark.usefixtures("read_singly")
@pytest.mark.parametrize("world_size", [1, 2])
def test_the_neighbour_of_a_damaged_sample_is_not_mixed(
    world_size: int, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its partner is gone, on another rank or its own. Two damaged samples in a row; the last of a batch; a whole
    batch."""
    order = draw_epoch(60, seed=3, epoch=0).order.tolist()
    places = {1, 2, 6, 10, 17, *range(21, 28), 28 + 3}
    bad = {order[place] for place in places}
    read = Split.read

    def damaged(self: Split, index: int) -> bytes:
        if index in bad:
            raise FreelightError(f"sample {index} is damaged")
        return read(self, index)

    whole = list(loader_of(dataset, mix=None))
    monkeypatch.setattr(Split, "read", damaged)
    ranks = ranks_of(dataset, world_size, on_error="skip", max_skipped=len(bad))
    for number, (before, *batches) in enumerate(zip(whole, *ranks, strict=True)):
        out = tuple(place - 7 * number for place in places if place // 7 == number)
        kept = [place for place in range(len(before.samples)) if place not in out]
        drawn = draws_of(number, seed=3, epoch=0, mixup_alpha=0.8, cutmix_alpha=1.0)
        images, labels = mix(
            before.images.numpy(),
            before.labels.numpy(),
            drawn,
            classes=10,
            prob=0.8,
            switch_prob=0.5,
            smoothing=0.1,
            left_out=out,
        )
        assert np.abs(np.concatenate([batch.images for batch in batches]) - images[kept]).max(initial=0) < 1e-4
        assert np.abs(np.concatenate([batch.labels for batch in batches]) - labels[kept]).max(initial=0) < 1e-6
        assert [sample for batch in batches for sample in batch.samples.tolist()] == before.samples[kept].tolist()
    assert set().union(*(loader.skipped for loader in ranks)) == bad


def test_ten_views_are_mixed_alike(dataset: Dataset) -> None:
    settings: dict[str, Any] = {"transform": Transform(crop=TenCrop(size=24), mean=(1.0, 2.0, 3.0)), "batch_size": 60}
    (before,), (after,) = (loader_of(dataset, mix=mixing, **settings) for mixing in (None, Mix(cutmix_alpha=1.0)))
    drawn = draws_of(0, seed=3, epoch=0, mixup_alpha=None, cutmix_alpha=1.0)
    for view in range(10):
        images, labels = mix(
            before.images[:, view].numpy(), before.labels.numpy(), drawn, classes=10, prob=1, switch_prob=1, smoothing=0
        )
        assert np.array_equal(after.images[:, view], images)
        assert np.abs(after.labels.numpy() - labels).max() < 1e-6


def test_labels_alone_are_smoothed_without_another_sample(dataset: Dataset) -> None:
    """As uint8 too; nothing more is read."""
    plain = Transform(crop=CenterCrop(size=24), mean="none", dtype="uint8")
    loader = loader_of(dataset, transform=plain, mix=Mix(label_smoothing=0.1), rank=1, world_size=2)
    without = loader_of(dataset, transform=plain, mix=None, rank=1, world_size=2)
    for before, after in zip(without, loader, strict=True):
        assert torch.equal(before.images, after.images)
        assert torch.allclose(after.labels, torch.nn.functional.one_hot(before.labels, 10) * 0.9 + 0.01)
    assert loader.bytes_read == without.bytes_read


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("alone", [[], [0, 2], [1, 4]])
def test_a_gpus_way_to_blend_is_that_of_the_cpu(first: int, alone: list[int]) -> None:
    alone = [place for place in alone if place >= first]
    images = torch.randn(5, 3, 111, 120)
    ours, theirs = images.clone(), images.clone()
    for region, pairs in ((ours, _in_pieces), (theirs, _whole)):
        for own, previous in pairs(region, first, alone, -2):
            own.lerp_(previous, 0.3)
    assert torch.equal(ours, theirs)
    assert torch.equal(ours[alone], images[alone])


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_gpu_mixes_as_the_cpu_does(layout: Layout, dataset: Dataset) -> None:
    """The decoders differ, by at most one grey level in the mean."""
    for ours, theirs in zip(
        *(loader_of(dataset, layout=layout, device=device) for device in ("cpu", "cuda")), strict=True
    ):
        assert (ours.images - theirs.images.cpu()).abs().mean() <= 1
        assert torch.allclose(ours.labels, theirs.labels.cpu())
