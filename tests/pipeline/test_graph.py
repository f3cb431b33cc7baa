"""A DALI batch equals what plain numpy and Pillow compute from the same pictures and draws, sample by sample."""

import dataclasses
import functools
import io
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from nvidia.dali import Pipeline, fn
from PIL import Image

from freelight.pipeline import (
    Batch,
    CenterCrop,
    Crop,
    EpochDraws,
    Layout,
    Lighting,
    Loader,
    RandomCrop,
    RandomResizedCrop,
    TenCrop,
    Transform,
    define_pipeline,
    draw_epoch,
    graph_inputs,
)
from freelight.shards import (
    Dataset,
    FreelightError,
    Rescaling,
    ShardSettings,
    Statistics,
    compute_statistics,
    list_images,
    make_shards,
)

SEED, EPOCH, BATCH = 21, 2, 8
LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")

SMALL, FULL = 56, 224
"""Sizes of crops, pixels, from images of 64 and 256 pixels."""

# Offsets (top, left); those of 224 in 256 pixels as docs/design/paper.md section 2 lists them.
LAST = {SMALL: 8, FULL: 32}
CENTRES = {SMALL: (4, 4), FULL: (16, 16)}
FIVES = {
    SMALL: ((0, 0), (0, 8), CENTRES[SMALL], (8, 0), (8, 8)),
    FULL: ((0, 0), (0, 32), CENTRES[FULL], (32, 0), (32, 32)),
}

CROPS: dict[str, Callable[[int], Crop]] = {
    "random": lambda size: RandomCrop(size=size),
    "shared": lambda size: RandomCrop(size=size, shared_by=32),
    "still": lambda size: RandomCrop(size=size, centered=True),
    "resized": lambda size: RandomResizedCrop(size=size),
    "center": lambda size: CenterCrop(size=size),
    "ten": lambda size: TenCrop(size=size),
}
MEANS = {"image": "image", "window": "center window", "channel": "channel", "given": (124.0, 116.5, 103.5), "0": "none"}
LIGHTS = {
    "eigenvalue": Lighting(mode="eigenvalue"),
    "std": Lighting(mode="std"),
    "divided": Lighting(mode="std", divisor=1.1),
    "off": Lighting(mode="off"),
    "fixed": Lighting(),  # the default, which fixed views ignore
}
STD = (58.4, 57.1, 57.4)

Words = tuple[str, str, str, str, str]
"""A transform's crop, dtype, mean, lighting, and `scaled` or `plain`."""


def transform_of(words: Words, size: int) -> Transform:
    crop, dtype, mean, light, scale = words
    return Transform(
        crop=CROPS[crop](size),
        mean=MEANS[mean],
        lighting=LIGHTS[light],
        std=STD if scale == "scaled" else None,
        dtype=dtype,  # type: ignore[arg-type]  # one of the three
    )


def every_transform() -> Iterator[Words]:
    """Return every kind of transform."""
    for crop in CROPS:
        yield crop, "uint8", "0", "off", "plain"
        lights = ["fixed"] if crop in ("center", "ten") else ["eigenvalue", "std", "divided", "off"]
        means = [mean for mean in MEANS if crop != "resized" or mean not in ("image", "window")]
        for dtype, mean, light, scale in itertools.product(("float32", "float16"), means, lights, ("plain", "scaled")):
            yield crop, dtype, mean, light, scale


def in_pairs(kinds: Iterable[Words]) -> list[Words]:
    """Choose some of `kinds` so that every pair of values that occurs together in `kinds` also occurs in the choice.

    Pairs of random crops and of fixed views are counted separately, because their graphs differ.
    """
    pairs = {
        words: {(words[3] == "fixed", *pair) for pair in itertools.combinations(enumerate(words), 2)} for words in kinds
    }
    missing = set().union(*pairs.values())
    chosen = []
    while missing:
        best = max(pairs, key=lambda words: len(pairs[words] & missing))
        chosen.append(best)
        missing -= pairs[best]
    return chosen


# Every branch of the graph and every pair of settings on small images; each crop once as in the recipes.
FULL_SIZE: list[Words] = [
    ("random", "float32", "image", "eigenvalue", "plain"),
    ("shared", "float32", "window", "divided", "plain"),
    ("still", "float32", "channel", "off", "scaled"),
    ("resized", "float16", "given", "std", "scaled"),
    ("center", "uint8", "0", "off", "plain"),
    ("ten", "float32", "image", "fixed", "plain"),
]
TRANSFORMS = {
    "-".join((*words, str(size))): transform_of(words, size)
    for size, kinds in ((SMALL, in_pairs(every_transform())), (FULL, FULL_SIZE))
    for words in kinds
}


ON_GPU = [
    pytest.param(name, layout, marks=[pytest.mark.slow] if place % 6 and "224" not in name else [])
    for place, (layout, name) in enumerate(itertools.product(LAYOUTS, TRANSFORMS))
]
"""Each transform in each layout. The first hour on a card begins with those of full size and a sixth of the others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """A dataset, its statistics, and its train split decoded by Pillow."""

    dataset: Dataset
    statistics: Statistics
    decoded: npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def sized(
    pictures: Path,
    dataset: Dataset,
    statistics: Statistics,
    decoded: dict[str, npt.NDArray[np.uint8]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[int, Pictures]:
    """The pictures for crops of each size."""
    source = list_images(pictures, val_fraction=None, class_names=pictures / "class-names.tsv", seed=0)
    folder = tmp_path_factory.mktemp("small") / "dataset"
    make_shards(source, folder, ShardSettings(rescaling=Rescaling(size=64)))
    small = Dataset(folder)
    split = small.split("train")
    train = np.stack([np.asarray(Image.open(io.BytesIO(split.read(i)))) for i in range(len(split))])
    return {
        SMALL: Pictures(dataset=small, statistics=compute_statistics(small), decoded=train),
        FULL: Pictures(dataset=dataset, statistics=statistics, decoded=decoded["train"]),
    }


def resized(picture: npt.NDArray[np.uint8], window: tuple[int, ...], size: int) -> npt.NDArray[np.uint8]:
    """Cut and then scale, as torchvision's `resized_crop` does with a Pillow picture."""
    top, left, height, width = window
    piece = Image.fromarray(picture).crop((left, top, left + width, top + height))
    return np.asarray(piece.resize((size, size), Image.Resampling.BILINEAR))


def oracle(
    transform: Transform, picture: npt.NDArray[np.uint8], draws: EpochDraws, sample: int, statistics: Statistics
) -> npt.NDArray[Any]:
    """Transform one decoded picture as the paper says, in the simplest code: float64 or uint8, (views, size, size,
    3)."""
    crop, size = transform.crop, transform.crop.size
    centre = CENTRES[size]
    drawn = sample // 32 * 32 if isinstance(crop, RandomCrop) and crop.shared_by == 32 else sample
    flip = float(draws.flip[drawn]) < 0.5
    if isinstance(crop, RandomResizedCrop):
        picture = resized(picture, tuple(transform.windows(draws, len(picture))[sample].tolist()), size)
        windows = [(0, 0, flip)]
    elif isinstance(crop, RandomCrop) and crop.centered:
        windows = [(*centre, flip)]
    elif isinstance(crop, RandomCrop):
        top, left = (math.floor(float(place) * (LAST[size] + 1)) for place in draws.crop[drawn])
        windows = [(top, left, flip)]
    elif isinstance(crop, CenterCrop):
        windows = [(*centre, False)]
    else:
        windows = [(*place, flip) for flip in (False, True) for place in FIVES[size]]
    values: npt.NDArray[Any] = picture
    if transform.dtype != "uint8":
        values = picture.astype(np.float64)
        if transform.mean == "image":
            values = values - statistics.mean_image.astype(np.float64)
        elif transform.mean == "channel":
            values = values - statistics.mean
        elif not isinstance(transform.mean, str):
            values = values - np.array(transform.mean)
        if isinstance(crop, RandomCrop | RandomResizedCrop) and transform.lighting.mode != "off":
            for axis in range(3):
                spread = float(statistics.eigenvalues[axis])
                spread = math.sqrt(spread) if transform.lighting.mode == "std" else spread / 255
                values = values + 0.1 * float(draws.lighting[sample, axis]) * spread * statistics.eigenvectors[:, axis]
    views = []
    for top, left, flip in windows:
        view = values[top : top + size, left : left + size]
        view = np.flip(view, axis=1) if flip else view
        if transform.mean == "center window":
            middle = statistics.mean_image[centre[0] : centre[0] + size, centre[1] : centre[1] + size]
            view = view - middle.astype(np.float64)
        view = view if transform.std is None else view / np.array(STD)
        divided = isinstance(crop, RandomCrop | RandomResizedCrop) and transform.lighting.mode != "off"
        views.append(view / transform.lighting.divisor if divided and transform.dtype != "uint8" else view)
    return np.stack(views)


def assert_equal(got: npt.NDArray[Any], expected: npt.NDArray[Any], dtype: str, *, levels: float = 0.0) -> None:
    """Require equality for uint8, 1e-3 for float32, its rounding for float16; plus `levels`, if given."""
    assert got.dtype == dtype
    assert got.shape == expected.shape
    tolerance: Any = levels + (0 if dtype == "uint8" else 1e-3)
    if dtype == "float16":
        tolerance += np.spacing((np.abs(expected) + levels).astype(np.float16)).astype(np.float64) / 2
    error = np.abs(got.astype(np.float64) - expected)
    assert (error <= tolerance).all(), f"off by up to {error.max()}"


def first_batch(sized: Pictures, transform: Transform, **settings: Any) -> Batch:
    size = 2 if transform.views == 10 else BATCH
    settings = {"transform": transform, "statistics": sized.statistics, "seed": SEED, **settings}
    loader = Loader(sized.dataset, "train", batch_size=size, extras=("samples",), **settings)
    loader.set_epoch(EPOCH)
    return next(iter(loader))


def allowed_levels(transform: Transform) -> float:
    """Return how far DALI's resampling may be off: one grey level. It rounds once, Pillow after each axis."""
    if not isinstance(transform.crop, RandomResizedCrop):
        return 0
    return 1 if transform.std is None else 1 / min(STD)


def test_the_transforms_below_have_each_pair_of_settings() -> None:
    """Far fewer than all 334 kinds, but every value and every pair; the full-size ones have each crop."""
    every, chosen = list(every_transform()), in_pairs(every_transform())
    assert len(every) == 334
    assert len(chosen) < 50
    for one, other in itertools.combinations(range(5), 2):
        assert {(words[one], words[other]) for words in chosen} == {(words[one], words[other]) for words in every}
    assert {words[0] for words in FULL_SIZE} == set(CROPS)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_batch_is_the_oracles(name: str, sized: dict[int, Pictures]) -> None:
    transform = TRANSFORMS[name]
    size, pictures = transform.crop.size, sized[transform.crop.size]
    draws = draw_epoch(len(pictures.decoded), seed=SEED, epoch=EPOCH)
    images, (planes, pixels) = [], (first_batch(pictures, transform, layout=layout) for layout in LAYOUTS)
    assert np.array_equal(planes.samples, draws.order[: len(planes.samples)])
    assert np.array_equal(planes.samples, pixels.samples)
    for batch, last in ((planes, (3, size, size)), (pixels, (size, size, 3))):
        assert batch.images.shape == (len(batch.samples), *([10] if transform.views == 10 else []), *last)
        assert batch.images.is_contiguous()
        images.append(batch.images.numpy().reshape(len(batch.samples), -1, *last))
    for sample, chw, hwc in zip(planes.samples.tolist(), *images, strict=True):
        expected = oracle(transform, pictures.decoded[sample], draws, sample, pictures.statistics)
        assert_equal(chw.transpose(0, 2, 3, 1), expected, transform.dtype, levels=allowed_levels(transform))
        assert np.array_equal(hwc, chw.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_apply_is_the_oracles_too(name: str, sized: dict[int, Pictures]) -> None:
    """`Transform.apply` is the users' oracle; here it is compared with the plain one."""
    transform, pictures = TRANSFORMS[name], sized[TRANSFORMS[name].crop.size]
    draws = draw_epoch(len(pictures.decoded), seed=SEED, epoch=EPOCH)
    for sample in draws.order[:3].tolist():
        got = transform.apply(pictures.decoded[sample], draws, sample, pictures.statistics)
        expected = oracle(transform, pictures.decoded[sample], draws, sample, pictures.statistics)
        got = got if transform.views == 10 else got[None]
        assert_equal(got.transpose(0, 2, 3, 1), expected, "uint8" if transform.dtype == "uint8" else "float64")


@pytest.mark.parametrize(
    "transform",
    [
        Transform(crop=RandomCrop(size=SMALL), lighting=Lighting(mode="off", divisor=1.1)),
        Transform(crop=CenterCrop(size=SMALL), lighting=Lighting(mode="std", divisor=1.1)),
    ],
    ids=["off", "center"],
)
def test_nothing_is_divided_where_no_noise_is_added(transform: Transform, sized: dict[int, Pictures]) -> None:
    """As in the 2012 code: its last epochs and its tests have no noise, and are not divided."""
    assert transform.divisors is None
    plain = dataclasses.replace(transform, lighting=Lighting(mode="off"))
    divided = first_batch(sized[SMALL], transform).images
    assert torch.equal(divided, first_batch(sized[SMALL], plain).images)


def test_the_draws_that_the_oracle_was_asked_about_differ(dataset: Dataset) -> None:
    """Both flips, and offsets near both ends, are among the samples above: a graph without them could not pass."""
    draws = draw_epoch(len(dataset.split("train")), seed=SEED, epoch=EPOCH)
    some = draws.order[:BATCH]
    assert 3 <= (draws.flip[some] < 0.5).sum() <= BATCH - 3
    offsets = np.floor(draws.crop[some] * 33)
    assert (offsets.min(0) <= 2).all()
    assert (offsets.max(0) >= 30).all()
    assert np.floor(draws.crop[some] * 9).min(0).tolist() == [0, 0]
    assert np.floor(draws.crop[some] * 9).max(0).tolist() == [8, 8]


@pytest.mark.parametrize("crop", [197, 200, 224, 253, 254, 255, 256])
def test_every_offset_comes_out_as_it_was_drawn(
    crop: int, dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DALI gets a crop's place as a fraction and rounds it; every offset must be exact on both axes."""
    size, offsets = len(decoded["train"]), 257 - crop
    assert offsets <= size
    top = np.arange(size) % offsets
    left = offsets - 1 - top
    places = (np.stack([top, left], axis=1) + 0.5) / offsets
    draws = dataclasses.replace(draw_epoch(size, seed=0, epoch=0), crop=places.astype(np.float32))
    monkeypatch.setattr("freelight.pipeline.loader.draw_epoch", lambda *args, **settings: draws)
    transform = plain(RandomCrop(size=crop), flip_probability=0)
    for batch in Loader(dataset, "train", batch_size=size, transform=transform, extras=("samples",)):
        for image, i in zip(batch.images.numpy(), batch.samples.tolist(), strict=True):
            expected = decoded["train"][i][top[i] : top[i] + crop, left[i] : left[i] + crop]
            assert np.array_equal(image.transpose(1, 2, 0), expected), (top[i], left[i])


def plain(crop: Crop, **settings: Any) -> Transform:
    return Transform(crop=crop, mean="none", lighting=Lighting(mode="off"), dtype="uint8", **settings)


@pytest.mark.parametrize("crop", [1, 2, 37, 128])
def test_small_crops_are_cut_where_they_were_drawn(
    crop: int, dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    draws = draw_epoch(len(decoded["train"]), seed=0, epoch=0)
    for batch in Loader(dataset, "train", batch_size=30, transform=plain(RandomCrop(size=crop)), extras=("samples",)):
        for image, sample in zip(batch.images.numpy(), batch.samples.tolist(), strict=True):
            top, left = (math.floor(float(place) * (257 - crop)) for place in draws.crop[sample])
            expected = decoded["train"][sample][top : top + crop, left : left + crop]
            expected = np.flip(expected, axis=1) if draws.flip[sample] < 0.5 else expected
            assert np.array_equal(image.transpose(1, 2, 0), expected)


@pytest.mark.parametrize("views", [CenterCrop, TenCrop])
@pytest.mark.parametrize("crop", [1, 199, 225, 255, 256])
def test_fixed_views_of_other_sizes_are_cut_where_apply_cuts_them(
    views: Callable[..., Crop], crop: int, dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    """An odd span has no middle pixel; both sides must take the same one."""
    transform = plain(views(size=crop))
    loader = Loader(dataset, "val", batch_size=3, transform=transform, order="sequential")
    draws = draw_epoch(len(loader.split), seed=0, epoch=0)
    for image, sample in zip(next(iter(loader)).images.numpy(), range(3), strict=True):
        assert np.array_equal(image, transform.apply(decoded["val"][sample], draws, sample, None))


def define(transform: Transform, statistics: Statistics | None, **changes: Any) -> Pipeline:
    image_size = 64 if transform.crop.size == SMALL else 256
    settings = {"image_size": image_size, "batch_size": 4, "num_threads": 1, "prefetch": 2, "device_id": 0, **changes}
    return define_pipeline(transform, source=lambda: [], statistics=statistics, **settings)  # noqa: PIE807


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


def test_only_small_arguments_are_fed_beside_the_jpegs() -> None:
    places = ["jpeg", "top", "left", "flip"]
    assert graph_inputs(Transform()) == [*places, "light"]
    assert graph_inputs(Transform(lighting=Lighting(mode="off"))) == places
    assert graph_inputs(Transform(crop=RandomResizedCrop(), mean="channel")) == [
        "jpeg",
        "start",
        "shape",
        "flip",
        "light",
    ]
    assert graph_inputs(Transform(crop=TenCrop())) == ["jpeg"]


@pytest.mark.parametrize(
    ("transform", "changes", "message"),
    [
        (Transform(), {"statistics": None}, "pass the dataset's statistics"),
        (Transform(mean="none"), {"statistics": None}, "pass the dataset's statistics"),
        (Transform(), {"image_size": 257}, "mean image has side 256, the dataset's images 257; run .*compute-pca"),
        (Transform(), {"layout": "CHW"}, "`layout` 'CHW' is not one of NCHW, NHWC"),
        (Transform(mean="center window"), {"image_size": 257}, "mean image has side 256, the dataset's images 257"),
        (Transform(crop=RandomCrop(size=257)), {}, "a crop of 257 pixels does not fit the dataset's images of 256"),
        (Transform(crop=CenterCrop(size=257)), {}, "a crop of 257 pixels does not fit"),
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
        (
            {"mean": "picture"},
            "`mean` 'picture' is not one of image, center window, channel, none, nor three RGB numbers",
        ),
        ({"mean": (0.5, 0.5)}, r"`mean` \(=\(0.5, 0.5\)\) must be three numbers, RGB in 0-255 units"),
        ({"std": (1.0,)}, r"`std` \(=\(1.0,\)\) must be three numbers, RGB in 0-255 units"),
        ({"std": (1.0, 0.0, 1.0)}, r"`std` \(=\(1.0, 0.0, 1.0\)\) must be three positive"),
        ({"mean": None}, r"`mean` \(=None\) must be three numbers"),
        ({"mean": (0.5, float("nan"), 0.5)}, r"`mean` \(=\(0.5, nan, 0.5\)\) must be three finite numbers"),
        ({"std": 3.0}, r"`std` \(=3.0\) must be three numbers"),
        ({"std": (1.0, float("inf"), 1.0)}, r"`std` \(=\(1.0, inf, 1.0\)\) must be three positive numbers"),
        ({"flip_probability": None}, r"`flip_probability` \(=None\) must be a number"),
        ({"crop": 224}, r"`crop` \(=224\) must be a Crop"),
        ({"lighting": "std"}, r"`lighting` \(='std'\) must be a Lighting"),
        ({"ops": None}, r"`ops` \(=None\) must be a tuple of ops"),
        ({"dtype": "float64"}, "`dtype` 'float64' is not one of uint8, float16, bfloat16, float32"),
        ({"flip_probability": 1.5}, r"`flip_probability` \(=1.5\) must lie in 0..1"),
        ({"dtype": "uint8"}, "uint8 allows only crop and flip"),
        ({"dtype": "uint8", "mean": "none"}, "uint8 allows only crop and flip"),
        ({"dtype": "uint8", "mean": "none", "crop": CenterCrop(), "std": STD}, "uint8 allows only crop and flip"),
        ({"crop": RandomResizedCrop()}, "a mean image does not fit resized crops"),
        ({"crop": RandomResizedCrop(), "mean": "center window"}, "a mean image does not fit resized crops"),
    ],
)
def test_wrong_transforms_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        Transform(**arguments)


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
