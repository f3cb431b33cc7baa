"""The graph for a GPU: defined without one by DALI's own checks, and on one the same batch as on the CPU."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from graph_oracle import (
    FULL,
    LAYOUTS,
    ON_GPU,
    TRANSFORMS,
    Pictures,
    allowed_levels,
    assert_equal,
    define,
    first_batch,
    transform_of,
)
from nvidia.dali import Pipeline, fn

from freelight.pipeline import (
    Batch,
    Layout,
    Transform,
)
from freelight.shards import (
    Statistics,
)


def replace_decoders(monkeypatch: pytest.MonkeyPatch, decode: Callable[..., Any]) -> None:
    """Have the graph call `decode(DALI's decoder, *inputs, **settings)` for each of the decoders that it uses."""
    for name in ("image", "image_crop", "image_slice"):
        monkeypatch.setattr(fn.decoders, name, functools.partial(decode, getattr(fn.decoders, name)))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_gpu_graph_is_defined_without_a_gpu(
    name: str, sized: dict[int, Pictures], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DALI checks devices and arguments as the graph is defined. The batch ends on the GPU, in either layout."""
    outputs, decoded = [], []
    monkeypatch.setattr(Pipeline, "set_outputs", lambda self, *nodes: outputs.extend(nodes))

    def noted(decode: Any, *nodes: Any, **settings: Any) -> Any:
        decoded.append((settings["device"], settings["jpeg_fancy_upsampling"]))
        return decode(*nodes, **settings)

    replace_decoders(monkeypatch, noted)
    for layout in LAYOUTS:
        define(TRANSFORMS[name], sized[TRANSFORMS[name].crop.size].statistics, layout=layout)
    assert [node.device for node in outputs] == ["gpu", "gpu"]
    assert decoded == [("mixed", True)] * 2, "without it, nvJPEG's chroma is coarser than the CPU's"


@pytest.mark.parametrize(
    "transform",
    [
        Transform(),
        transform_of(("resized", "uint8", "0", "off", "plain"), FULL),
        transform_of(("center", "float16", "channel", "fixed", "plain"), FULL),
        transform_of(("ten", "uint8", "0", "off", "plain"), FULL),
    ],
    ids=["random", "resized", "center", "ten"],
)
def test_defining_rejects_an_operator_on_the_wrong_device(
    transform: Transform, statistics: Statistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above means something: the same graph with one operator left on the CPU is not definable."""
    monkeypatch.setattr(fn, "crop_mirror_normalize", functools.partial(fn.crop_mirror_normalize, device="cpu"))
    define(transform, statistics, device_id=None)
    with pytest.raises(RuntimeError, match='stored on incompatible device "gpu"'):
        define(transform, statistics)


def test_defining_rejects_an_argument_on_the_gpu(statistics: Statistics, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fn.crop_mirror_normalize
    monkeypatch.setattr(
        fn, "crop_mirror_normalize", lambda node, mirror, **settings: plain(node, mirror=mirror.gpu(), **settings)
    )
    with pytest.raises(ValueError, match='Invalid device "gpu" for argument'):
        define(Transform(mean="channel"), statistics)


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "layout"), ON_GPU)
def test_the_gpu_gives_the_cpus_batch(name: str, layout: Layout, sized: dict[int, Pictures]) -> None:
    """The decoders differ, by at most one grey level in the mean."""
    ours, theirs = on_both(TRANSFORMS[name], sized, layout)
    assert (theirs.images.cpu().double() - ours.images.double()).abs().mean() <= 1


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "layout"), ON_GPU)
def test_of_the_same_decoded_pixels_the_gpu_makes_the_cpus_batch(
    name: str, layout: Layout, sized: dict[int, Pictures], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps after the decoder: uint8 is equal, float32 within 1e-3, resampling within a grey level."""
    replace_decoders(monkeypatch, on_the_cpu)
    ours, theirs = on_both(TRANSFORMS[name], sized, layout)
    levels = allowed_levels(TRANSFORMS[name])
    assert_equal(theirs.images.cpu().numpy(), ours.images.numpy(), TRANSFORMS[name].dtype, levels=levels)


def on_the_cpu(decode: Callable[..., Any], *nodes: Any, **settings: Any) -> Any:
    pixels = decode(*nodes, **{**settings, "device": "cpu"})
    return pixels.gpu() if settings["device"] == "mixed" else pixels


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_gpu_graph_over_the_cpus_decoder_is_defined(
    name: str, sized: dict[int, Pictures], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph of the test above, which needs a GPU to run."""
    replace_decoders(monkeypatch, on_the_cpu)
    define(TRANSFORMS[name], sized[TRANSFORMS[name].crop.size].statistics)


def on_both(transform: Transform, sized: dict[int, Pictures], layout: Layout) -> tuple[Batch, Batch]:
    """Return the first batch of the CPU and that of the GPU, the same samples with the same labels."""
    pictures = sized[transform.crop.size]
    ours = first_batch(pictures, transform, layout=layout)
    theirs = first_batch(pictures, transform, layout=layout, device="cuda")
    assert theirs.images.is_cuda
    assert theirs.images.dtype == ours.images.dtype
    assert theirs.images.shape == ours.images.shape
    assert np.array_equal(theirs.samples, ours.samples)
    assert torch.equal(theirs.labels.cpu(), ours.labels)
    return ours, theirs
