"""A DALI batch is what plain numpy and Pillow make of the same pictures and draws, sample by sample."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from nvidia.dali import Pipeline, fn

from freelight.pipeline import Batch, EpochDraws, Lighting, Loader, Transform, draw_epoch
from freelight.pipeline.graph import Layout, define_pipeline, graph_inputs
from freelight.shards import Dataset, FreelightError, Statistics

SEED, EPOCH, BATCH = 21, 2, 8
LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")

# Offsets (top, left) of 224 in 256 pixels, as paper.md lists them.
CENTRE = (16, 16)
FIVE = ((0, 0), (0, 32), CENTRE, (32, 0), (32, 32))


def every_transform() -> Iterator[Transform]:
    """Every kind of transform that there is; the lighting of fixed views is left at its default, which they ignore."""
    for views, dtype in itertools.product(("random", "center", "ten"), ("uint8", "float16", "float32")):
        means = ("none",) if dtype == "uint8" else ("image", "channel", "none")
        modes = ("eigenvalue", "std", "off") if views == "random" and dtype != "uint8" else ("off",)
        for mean, mode in itertools.product(means, modes):
            lighting = Lighting(mode=mode) if views == "random" or dtype == "uint8" else Lighting()
            yield Transform(views=views, mean=mean, lighting=lighting, dtype=dtype)
    for mean, dtype in itertools.product(("image", "channel", "none"), ("float16", "float32")):
        yield Transform(mean=mean, lighting=Lighting(mode="std", divisor=1.1), dtype=dtype)


def name_of(transform: Transform) -> str:
    light = transform.lighting.mode if transform.shifts_light else "off"
    divided = "" if transform.divisor == 1 else f"-divided-by-{transform.divisor}"
    return f"{transform.views}-{transform.dtype}-{transform.mean}-{light}{divided}"


TRANSFORMS = {name_of(transform): transform for transform in every_transform()}


def oracle(
    transform: Transform, picture: npt.NDArray[np.uint8], draws: EpochDraws, sample: int, statistics: Statistics
) -> npt.NDArray[Any]:
    """Do to one decoded picture what the paper says, as plainly as can be: float64 or uint8, (views, 224, 224, 3)."""
    values: npt.NDArray[Any] = picture
    if transform.dtype != "uint8":
        values = picture.astype(np.float64)
        if transform.mean == "image":
            values = values - statistics.mean_image.astype(np.float64)
        elif transform.mean == "channel":
            values = values - statistics.mean
        if transform.views == "random" and transform.lighting.mode != "off":
            for axis in range(3):
                size = float(statistics.eigenvalues[axis])
                size = math.sqrt(size) if transform.lighting.mode == "std" else size / 255
                values = values + 0.1 * float(draws.lighting[sample, axis]) * size * statistics.eigenvectors[:, axis]
            values = values / transform.lighting.divisor
    if transform.views == "random":
        top, left = (math.floor(float(place) * 33) for place in draws.crop[sample])
        windows = [(top, left, float(draws.flip[sample]) < 0.5)]
    elif transform.views == "center":
        windows = [(*CENTRE, False)]
    else:
        windows = [(*place, flip) for flip in (False, True) for place in FIVE]
    views = []
    for top, left, flip in windows:
        view = values[top : top + 224, left : left + 224]
        views.append(np.flip(view, axis=1) if flip else view)
    return np.stack(views)


def assert_equal(got: npt.NDArray[Any], expected: npt.NDArray[Any], dtype: str) -> None:
    """Demand uint8 to the bit, float32 to 1e-3 grey levels, float16 to the rounding of its type."""
    assert got.dtype == dtype
    assert got.shape == expected.shape
    if dtype == "uint8":
        assert np.array_equal(got, expected)
        return
    tolerance: Any = 1e-3
    if dtype == "float16":
        tolerance = 1e-3 + np.spacing(np.abs(expected).astype(np.float16)).astype(np.float64) / 2
    error = np.abs(got.astype(np.float64) - expected)
    assert (error <= tolerance).all(), f"off by up to {error.max()} grey levels"


def first_batch(dataset: Dataset, statistics: Statistics, transform: Transform, **settings: Any) -> Batch:
    size = 2 if transform.views == "ten" else BATCH
    loader = Loader(
        dataset, "train", batch_size=size, transform=transform, statistics=statistics, seed=SEED, **settings
    )
    loader.set_epoch(EPOCH)
    return next(iter(loader))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_batch_is_the_oracles(
    name: str, dataset: Dataset, statistics: Statistics, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    transform = TRANSFORMS[name]
    draws = draw_epoch(len(decoded["train"]), seed=SEED, epoch=EPOCH)
    images, (planes, pixels) = [], (first_batch(dataset, statistics, transform, layout=layout) for layout in LAYOUTS)
    assert np.array_equal(planes.samples, draws.order[: len(planes.samples)])
    assert np.array_equal(planes.samples, pixels.samples)
    for batch, last in ((planes, (3, 224, 224)), (pixels, (224, 224, 3))):
        assert batch.images.shape == (len(batch.samples), *([10] if transform.views == "ten" else []), *last)
        assert batch.images.is_contiguous()
        images.append(batch.images.numpy().reshape(len(batch.samples), -1, *last))
    for sample, chw, hwc in zip(planes.samples.tolist(), *images, strict=True):
        expected = oracle(transform, decoded["train"][sample], draws, sample, statistics)
        assert_equal(chw.transpose(0, 2, 3, 1), expected, transform.dtype)
        assert np.array_equal(hwc, chw.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_apply_is_the_oracles_too(
    name: str, dataset: Dataset, statistics: Statistics, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    """`Transform.apply` is the oracle that users have; here it is held against the plain one."""
    transform = TRANSFORMS[name]
    draws = draw_epoch(len(decoded["train"]), seed=SEED, epoch=EPOCH)
    for sample in draws.order[:3].tolist():
        got = transform.apply(decoded["train"][sample], draws, sample, statistics)
        expected = oracle(transform, decoded["train"][sample], draws, sample, statistics)
        got = got if transform.views == "ten" else got[None]
        assert_equal(got.transpose(0, 2, 3, 1), expected, "uint8" if transform.dtype == "uint8" else "float64")


@pytest.mark.parametrize(
    "transform",
    [
        Transform(lighting=Lighting(mode="off", divisor=1.1)),
        Transform(views="center", lighting=Lighting(mode="std", divisor=1.1)),
    ],
    ids=["off", "center"],
)
def test_nothing_is_divided_where_no_noise_is_added(
    transform: Transform, dataset: Dataset, statistics: Statistics
) -> None:
    """As in the 2012 code: its last epochs are without noise, and its tests, and neither is divided."""
    assert transform.divisor == 1
    plain = dataclasses.replace(transform, lighting=Lighting(mode="off"))
    divided = first_batch(dataset, statistics, transform).images
    assert torch.equal(divided, first_batch(dataset, statistics, plain).images)


def test_the_draws_that_the_oracle_was_asked_about_differ(dataset: Dataset) -> None:
    """Both flips, and offsets near both ends, are among the samples above: a graph without them could not pass."""
    draws = draw_epoch(len(dataset.split("train")), seed=SEED, epoch=EPOCH)
    some = draws.order[:BATCH]
    assert 3 <= (draws.flip[some] < 0.5).sum() <= BATCH - 3
    offsets = np.floor(draws.crop[some] * 33)
    assert (offsets.min(0) <= 2).all()
    assert (offsets.max(0) >= 30).all()


@pytest.mark.parametrize("crop", [197, 200, 224, 253, 254, 255, 256])
def test_every_offset_comes_out_as_it_was_drawn(
    crop: int, dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DALI takes a crop's place as a fraction, and rounds: every offset must come out as itself, on either axis."""
    size, offsets = len(decoded["train"]), 257 - crop
    assert offsets <= size
    top = np.arange(size) % offsets
    left = offsets - 1 - top
    places = (np.stack([top, left], axis=1) + 0.5) / offsets
    draws = dataclasses.replace(draw_epoch(size, seed=0, epoch=0), crop=places.astype(np.float32))
    monkeypatch.setattr("freelight.pipeline.loader.draw_epoch", lambda *args, **settings: draws)
    for batch in Loader(dataset, "train", batch_size=size, transform=plain(crop=crop, flip_probability=0)):
        for image, i in zip(batch.images.numpy(), batch.samples.tolist(), strict=True):
            expected = decoded["train"][i][top[i] : top[i] + crop, left[i] : left[i] + crop]
            assert np.array_equal(image.transpose(1, 2, 0), expected), (top[i], left[i])


def plain(**settings: Any) -> Transform:
    return Transform(mean="none", lighting=Lighting(mode="off"), dtype="uint8", **settings)


@pytest.mark.parametrize("crop", [1, 2, 37, 128])
def test_small_crops_are_cut_where_they_were_drawn(
    crop: int, dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    draws = draw_epoch(len(decoded["train"]), seed=0, epoch=0)
    for batch in Loader(dataset, "train", batch_size=30, transform=plain(crop=crop)):
        for image, sample in zip(batch.images.numpy(), batch.samples.tolist(), strict=True):
            top, left = (math.floor(float(place) * (257 - crop)) for place in draws.crop[sample])
            expected = decoded["train"][sample][top : top + crop, left : left + crop]
            expected = np.flip(expected, axis=1) if draws.flip[sample] < 0.5 else expected
            assert np.array_equal(image.transpose(1, 2, 0), expected)


@pytest.mark.parametrize("views", ["center", "ten"])
@pytest.mark.parametrize("crop", [1, 199, 225, 255, 256])
def test_fixed_views_of_other_sizes_are_cut_where_apply_cuts_them(
    views: str, crop: int, dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    """An odd span has no middle pixel; both sides must take the same one."""
    transform = plain(crop=crop, views=views)
    loader = Loader(dataset, "val", batch_size=3, transform=transform, order="sequential")
    draws = draw_epoch(len(loader.split), seed=0, epoch=0)
    for image, sample in zip(next(iter(loader)).images.numpy(), range(3), strict=True):
        assert np.array_equal(image, transform.apply(decoded["val"][sample], draws, sample, None))


def define(transform: Transform, statistics: Statistics | None, **changes: Any) -> Pipeline:
    settings = {"image_size": 256, "batch_size": 4, "num_threads": 1, "prefetch": 2, "device_id": 0, **changes}
    return define_pipeline(transform, source=lambda: [], statistics=statistics, **settings)  # noqa: PIE807


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_gpu_graph_is_defined_without_a_gpu(
    name: str, statistics: Statistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DALI checks devices and arguments as the graph is defined. The batch ends on the GPU, in either layout."""
    outputs = []
    monkeypatch.setattr(Pipeline, "set_outputs", lambda self, *nodes: outputs.extend(nodes))
    for layout in LAYOUTS:
        define(TRANSFORMS[name], statistics, layout=layout)
    assert [node.device for node in outputs] == ["gpu", "gpu"]


@pytest.mark.parametrize(
    "name", ["random-float32-image-eigenvalue", "center-float16-channel-off", "ten-uint8-none-off"]
)
def test_defining_rejects_an_operator_on_the_wrong_device(
    name: str, statistics: Statistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above means something: the same graph with one operator left on the CPU is not definable."""
    monkeypatch.setattr(fn, "crop_mirror_normalize", functools.partial(fn.crop_mirror_normalize, device="cpu"))
    define(TRANSFORMS[name], statistics, device_id=None)
    with pytest.raises(RuntimeError, match='stored on incompatible device "gpu"'):
        define(TRANSFORMS[name], statistics)


def test_defining_rejects_an_argument_on_the_gpu(statistics: Statistics, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fn.crop_mirror_normalize
    monkeypatch.setattr(
        fn, "crop_mirror_normalize", lambda node, mirror, **settings: plain(node, mirror=mirror.gpu(), **settings)
    )
    with pytest.raises(ValueError, match='Invalid device "gpu" for argument'):
        define(Transform(mean="channel"), statistics)


def test_only_small_arguments_are_fed_beside_the_jpegs() -> None:
    places = ["jpeg", "top", "left", "flip"]
    assert graph_inputs(Transform()) == [*places, "light"]
    assert graph_inputs(Transform(lighting=Lighting(mode="off"))) == places
    assert graph_inputs(Transform(views="ten")) == ["jpeg"]


@pytest.mark.parametrize(
    ("transform", "changes", "message"),
    [
        (Transform(), {"statistics": None}, "pass the dataset's statistics"),
        (Transform(mean="none"), {"statistics": None}, "pass the dataset's statistics"),
        (Transform(), {"image_size": 257}, "mean image has side 256, the dataset's images 257; run compute_pca"),
        (Transform(), {"layout": "CHW"}, "layout 'CHW' is not one of NCHW, NHWC"),
        (Transform(crop=257), {}, "a crop of 257 pixels does not fit the dataset's images of 256"),
        (Transform(crop=257, views="center"), {}, "a crop of 257 pixels does not fit"),
    ],
)
def test_what_cannot_be_defined_is_explained(
    transform: Transform, changes: dict[str, Any], message: str, statistics: Statistics
) -> None:
    with pytest.raises(FreelightError, match=message):
        define(transform, **{"statistics": statistics, **changes})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"views": "five"}, "views 'five' is not one of random, center, ten"),
        ({"mean": "picture"}, "mean 'picture' is not one of image, channel, none"),
        ({"dtype": "float64"}, "dtype 'float64' is not one of uint8, float16, float32"),
        ({"crop": 0}, r"crop \(=0\) must be at least 1 pixel"),
        ({"flip_probability": 1.5}, r"flip_probability \(=1.5\) must lie in 0..1"),
        ({"dtype": "uint8"}, "uint8 means crop and flip only"),
        ({"dtype": "uint8", "mean": "none"}, "uint8 means crop and flip only"),
    ],
)
def test_wrong_transforms_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        Transform(**arguments)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_gpu_gives_the_cpus_batch(name: str, layout: Layout, dataset: Dataset, statistics: Statistics) -> None:
    """The decoders differ (nvJPEG upsamples chroma otherwise), by at most one grey level in the mean."""
    transform = TRANSFORMS[name]
    ours = first_batch(dataset, statistics, transform, layout=layout)
    theirs = first_batch(dataset, statistics, transform, layout=layout, device="cuda")
    assert theirs.images.is_cuda
    assert theirs.images.dtype == ours.images.dtype
    assert theirs.images.shape == ours.images.shape
    assert np.array_equal(theirs.samples, ours.samples)
    assert torch.equal(theirs.labels.cpu(), ours.labels)
    assert (theirs.images.cpu().double() - ours.images.double()).abs().mean() <= 1
