"""Torch ends a transform with the graph's values, to the bit; so ranks exchange uint8 crops where it can."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist

from freelight.pipeline import (
    CenterCrop,
    ColorJitter,
    Layout,
    Lighting,
    Loader,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    TenCrop,
    Transform,
    exchange,
)
from freelight.pipeline.finishing import Finishing, ends_in_torch
from freelight.shards import Dataset
from freelight.train import RECIPES

CROP, RESIZED = RandomCrop(size=61), RandomResizedCrop(size=61)
OFF, STD = Lighting(mode="off"), (58.0, 57.0, 56.0)
FINISHED = {
    "image": Transform(crop=CROP),
    "image, centred crop": Transform(crop=RandomCrop(size=61, centered=True), lighting=OFF),
    "image, std": Transform(crop=CROP, std=STD, lighting=Lighting(mode="std", divisor=1.1)),
    "image, op": Transform(crop=CROP, ops=(ColorJitter(brightness=0.4),)),
    "image, bfloat16": Transform(crop=CROP, dtype="bfloat16"),
    "centre window": Transform(crop=CROP, mean="center window", lighting=Lighting(mode="std", divisor=1.1)),
    "centre window, no noise": Transform(crop=CROP, mean="center window", lighting=OFF, flip_probability=1.0),
    "channels": Transform(crop=CROP, mean="channel"),
    "numbers, resized": Transform(crop=RESIZED, mean=(120.0, 110.5, 99.9), lighting=OFF),
    "none": Transform(crop=CROP, mean="none", lighting=OFF),
    "centre": Transform(crop=CenterCrop(size=61)),
    "centre, window": Transform(crop=CenterCrop(size=61), mean="center window", std=STD),
    "ten": Transform(crop=TenCrop(size=61)),
}
NOT_FINISHED = {
    "image, float16": Transform(crop=CROP, dtype="float16"),
    "uint8": Transform(crop=CROP, mean="none", lighting=OFF, dtype="uint8"),
    "channels, std": Transform(crop=CROP, mean="channel", std=STD),
    "normalized op": Transform(crop=CROP, ops=(RandomErasing(),)),
}


def first_images(dataset: Dataset, transform: Transform, **settings: Any) -> torch.Tensor:
    with Loader(dataset, "train", batch_size=7, transform=transform, **settings) as loader:
        images: torch.Tensor = next(iter(loader)).images
        return images


@pytest.mark.parametrize(
    ("name", "layout"),
    [("image", "NHWC"), *zip([*FINISHED, *NOT_FINISHED], itertools.cycle(("NCHW", "NHWC")), strict=False)],
)
def test_a_group_has_the_graphs_values_and_exchanges_bytes_where_it_can(
    name: str, layout: Layout, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    transform = {**FINISHED, **NOT_FINISHED}[name]
    sent, computed = [], []
    start, one_by_one = exchange.start_exchange, Finishing.one_by_one

    def both(self: Finishing, images: torch.Tensor, chosen: Any) -> torch.Tensor:
        values, others = one_by_one(self, images, chosen), self.at_once(images, chosen)
        computed.append((torch.equal(values, others), others.is_contiguous()))
        return values

    monkeypatch.setattr(Finishing, "one_by_one", both)
    monkeypatch.setattr(exchange, "start_exchange", lambda own, *more: (sent.append(own.dtype), start(own, *more))[1])
    group = dist.ProcessGroupGloo(dist.HashStore(), 0, 1, timedelta(seconds=30))
    ours = first_images(dataset, transform, layout=layout, group=group, rank=0, world_size=1)
    theirs = first_images(dataset, transform, layout=layout)
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs)
    assert ours.is_contiguous()
    assert set(computed) <= {(True, True)}, "what a GPU computes at once is the same"
    exchanged = torch.uint8 if name in FINISHED else getattr(torch, transform.dtype)
    assert set(sent) == {exchanged}


def test_the_batches_of_every_recipe_are_exchanged_as_bytes() -> None:
    for recipe in RECIPES.values():
        transforms = [transform for _, transform in recipe.training_transforms().parts]
        for transform in (*transforms, recipe.evaluation_transform(1), recipe.evaluation_transform(10)):
            assert ends_in_torch(transform, torch.device("cpu"), is_exchanged=True)
            assert not ends_in_torch(transform, torch.device("cpu"), is_exchanged=False), "one fused graph is faster"


@pytest.mark.parametrize("name", [*FINISHED, *NOT_FINISHED])
def test_on_a_gpu_torch_subtracts_mean_images(name: str) -> None:
    """DALI would keep a copy of the image for each sample of a batch."""
    transform = {**FINISHED, **NOT_FINISHED}[name]
    expected = transform.mean in ("image", "center window") and name != "normalized op"
    assert ends_in_torch(transform, torch.device("cuda", 0), is_exchanged=False) == expected
