"""Crops of pictures of many sizes are those of plain Pillow and numpy."""

import itertools
import math
import random
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from loading import Seen
from mixed import FILTERS, Mixed, draw_mixed, plain, resized_whole
from PIL import Image

from freelight.pipeline import (
    CenterCrop,
    Crop,
    EpochDraws,
    Lighting,
    Loader,
    RandomCrop,
    RandomResizedCrop,
    TenCrop,
    Transform,
    define_pipeline,
    draw_epoch,
    graph_feed,
)
from freelight.pipeline.pictures import Preview, draw_preview
from freelight.shards import FreelightError, Statistics, compute_statistics

SEED, EPOCH = 5, 3

CROPS: dict[str, Crop] = {
    "resized": RandomResizedCrop(size=48),
    "resized bicubic": RandomResizedCrop(size=48, interpolation="bicubic"),
    "resized random": RandomResizedCrop(size=48, interpolation="random"),
    "random": RandomCrop(size=17),
    "random of 40": RandomCrop(size=35, resize=40),
    "random of 40 random": RandomCrop(size=35, resize=40, interpolation="random"),
    "still of 40": RandomCrop(size=35, resize=40, centered=True),
    "center": CenterCrop(size=17),
    "center of 256": CenterCrop(size=224, resize=256),
    "center of 256 bicubic": CenterCrop(size=224, resize=256, interpolation="bicubic"),
    "center of itself": CenterCrop(size=64, resize=64),
    "center by share": CenterCrop(size=48, crop_pct=0.95, interpolation="bicubic"),
    "ten": TenCrop(size=16),
    "ten of 41": TenCrop(size=24, resize=41),
    "ten of 41 bicubic": TenCrop(size=24, resize=41, interpolation="bicubic"),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    return draw_mixed(tmp_path_factory.mktemp("mixed"))


def drawn_filter(crop: Crop, draws: EpochDraws, sample: int) -> str:
    if crop.interpolation != "random":
        return crop.interpolation
    uniform = np.random.Generator(np.random.Philox((draws.seed, draws.epoch, 2))).random(len(draws.order), np.float32)
    return "bilinear" if uniform[sample] < 0.5 else "bicubic"


def oracle(crop: Any, draws: EpochDraws, sample: int, mixed: Mixed) -> npt.NDArray[np.uint8]:
    """Cut the views of a picture in the simplest code: (views, size, size, 3)."""
    picture, size = mixed.decoded[sample], crop.size
    filter_ = drawn_filter(crop, draws, sample)
    if isinstance(crop, RandomResizedCrop):
        top, left, height, width = crop.windows(draws, mixed.sizes)[sample].tolist()
        piece = Image.fromarray(picture[top : top + height, left : left + width])
        view = np.asarray(piece.resize((size, size), FILTERS[filter_]))
        return (view[:, ::-1] if draws.flip[sample] < 0.5 else view)[None]
    shorter = math.floor(size / crop.crop_pct) if getattr(crop, "crop_pct", None) else crop.resize
    if shorter:
        picture = resized_whole(picture, shorter, filter_)
    spans = [side - size for side in picture.shape[:2]]
    # torchvision rounds half an offset to the even neighbour, the 2012 code rounds it down
    middle = [round(span / 2) if shorter else span // 2 for span in spans]
    if isinstance(crop, TenCrop):
        places = [(0, 0), (0, spans[1]), middle, (spans[0], 0), spans]
        views = [picture[top : top + size, left : left + size] for top, left in places]
        return np.stack(views + [view[:, ::-1] for view in views])
    place = middle
    if isinstance(crop, RandomCrop) and not crop.centered:
        place = [math.floor(float(at) * (span + 1)) for at, span in zip(draws.crop[sample], spans, strict=True)]
    view = picture[place[0] : place[0] + size, place[1] : place[1] + size]
    return (view[:, ::-1] if isinstance(crop, RandomCrop) and draws.flip[sample] < 0.5 else view)[None]


def graph_batch(transform: Transform, draws: EpochDraws, mixed: Mixed) -> npt.NDArray[Any]:
    """Run DALI's whole graph, which is the GPU's, on the CPU over all samples: (n, views, size, size, 3)."""
    split, samples = mixed.dataset.split("train"), np.arange(len(mixed.decoded), dtype=np.int32)
    choices = transform.choose(draws, mixed.sizes, None)
    feed = graph_feed(choices, samples, [split.read(i) for i in samples.tolist()])
    pipeline = define_pipeline(
        transform,
        source=lambda: feed,
        image_size=None,
        statistics=None,
        batch_size=len(samples),
        num_threads=2,
        prefetch=1,
        device_id=None,
        layout="NHWC",
    )
    output = np.asarray(pipeline.run()[0].as_array())
    return output.reshape(len(samples), -1, *output.shape[-3:])


@pytest.mark.parametrize("name", CROPS)
def test_crops_are_pillows(name: str, mixed: Mixed) -> None:
    """Without resizing they are equal; resized ones are close, also in DALI's whole graph, which is the GPU's.

    The loader's are resized by torch, but for ten crops.
    """
    crop, draws = CROPS[name], draw_epoch(len(mixed.decoded), seed=SEED, epoch=EPOCH)
    loader = Loader(mixed.dataset, "train", batch_size=7, transform=plain(crop), seed=SEED, extras=("samples",))
    loader.set_epoch(EPOCH)
    of_graph = graph_batch(plain(crop), draws, mixed)
    seen = set()
    for batch in loader:
        for image, sample in zip(batch.images.numpy(), batch.samples.tolist(), strict=True):
            expected = oracle(crop, draws, sample, mixed)
            ours = image.reshape(-1, 3, crop.size, crop.size).transpose(0, 2, 3, 1)
            check_close(ours, expected, crop, by_torch=not isinstance(crop, TenCrop))
            check_close(of_graph[sample], expected, crop, by_torch=False)
            reference = plain(crop).apply(mixed.decoded[sample], draws, sample, None, mixed.sizes)
            assert np.array_equal(reference.reshape(-1, 3, crop.size, crop.size).transpose(0, 2, 3, 1), expected)
            seen.add(sample)
    assert len(seen) == len(mixed.decoded)


def check_close(ours: npt.NDArray[np.uint8], expected: npt.NDArray[np.uint8], crop: Crop, *, by_torch: bool) -> None:
    """Require what resizing keeps: torch one grey level, of bicubic two, and hardly ever; DALI one.

    DALI's exceptions: edges of a shrunk picture, which it repeats, and bicubic, which Pillow rounds and clips after
    each axis.
    """
    off = np.abs(ours - expected.astype(int))
    if not crop.resizes:
        assert off.max() == 0
    elif by_torch:
        assert off.max() <= (1 if crop.interpolation == "bilinear" else 2)
        assert off.mean() <= 0.02
    else:
        assert off.mean() <= 0.3
        assert off[:, 2:-2, 2:-2].max() <= (1 if crop.interpolation == "bilinear" else 8)


def test_mean_and_std_of_resized_views_are_the_references(mixed: Mixed) -> None:
    mean, std = (120.0, 110.0, 100.0), (60.0, 58.0, 57.0)
    draws = draw_epoch(len(mixed.decoded), seed=0, epoch=0)
    for crop in (CenterCrop(size=35, resize=40), TenCrop(size=15), TenCrop(size=24, resize=41), CenterCrop(size=15)):
        transform = Transform(crop=crop, mean=mean, std=std)
        batch = next(iter(Loader(mixed.dataset, "train", batch_size=6, transform=transform, extras=("samples",))))
        for image, sample in zip(batch.images.numpy(), batch.samples.tolist(), strict=True):
            off = np.abs(image - transform.apply(mixed.decoded[sample], draws, sample, None, mixed.sizes))
            assert off.max() <= 1 / min(std) + 1e-5 if crop.resizes else 1e-5


@pytest.mark.parametrize("name", CROPS)
def test_the_gpu_graph_is_defined_without_a_gpu(name: str) -> None:
    """DALI checks devices and arguments as the graph is defined."""
    settings: Any = {"image_size": None, "statistics": None, "batch_size": 4, "num_threads": 1, "prefetch": 1}
    transform = Transform(crop=CROPS[name], mean=(120.0, 110.0, 100.0), lighting=Lighting(mode="off"))
    define_pipeline(transform, source=lambda: [], device_id=0, **settings)  # noqa: PIE807


@pytest.mark.parametrize("crop", [RandomResizedCrop(size=48), RandomCrop(size=35, resize=40), RandomCrop(size=17)])
def test_every_sample_comes_once_on_any_number_of_ranks_and_after_a_resume(crop: Crop, mixed: Mixed) -> None:
    settings: Any = {"batch_size": 6, "transform": plain(crop), "extras": ("samples",), "seed": SEED}
    whole = Seen(Loader(mixed.dataset, "train", **settings))
    assert len(whole) == len(mixed.decoded)
    dealt = Seen()
    for rank in range(3):
        dealt.add_all(Loader(mixed.dataset, "train", rank=rank, world_size=3, **settings))
    assert dealt == whole
    begun = Loader(mixed.dataset, "train", **settings)
    seen = Seen(itertools.islice(begun, 2))
    for rank in range(2):
        rest = Loader(mixed.dataset, "train", rank=rank, world_size=2, **{**settings, "batch_size": 5})
        rest.load_state_dict(begun.state_dict())
        seen.add_all(rest)
    assert seen == whole


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.95, 1.0), (3 / 4, 4 / 3)), ((0.9, 1.0), (0.9, 1.1))]
)
def test_windows_follow_torchvisions_law_on_500_by_375(
    scale: tuple[float, float], ratio: tuple[float, float], seed: int
) -> None:
    """The last two often fall back to the largest central window of allowed shape."""
    sizes = np.tile(np.array([[375, 500], [500, 375]], np.int32), (20_000, 1))
    crop = RandomResizedCrop(scale=scale, ratio=ratio)
    ours = crop.windows(draw_epoch(len(sizes), seed=seed, epoch=0), sizes)
    generator = random.Random(seed)
    for height, width, mine in ((375, 500, ours[::2]), (500, 375, ours[1::2])):
        assert (mine >= [0, 0, 1, 1]).all()
        assert (mine[:, :2] + mine[:, 2:] <= [height, width]).all()
        its = np.array([torchvision_window(height, width, scale, ratio, generator) for _ in range(20_000)])
        for name, feature in {
            "top": lambda at: at[:, 0],
            "left": lambda at: at[:, 1],
            "height": lambda at: at[:, 2],
            "width": lambda at: at[:, 3],
            "area": lambda at: at[:, 2] * at[:, 3],
            "shape": lambda at: at[:, 2] / at[:, 3],
            "right": lambda at: at[:, 1] + at[:, 3],
        }.items():
            assert scipy.stats.ks_2samp(feature(mine), feature(its)).pvalue > 0.0005, name
        fallback = torchvision_window(height, width, (1.0, 1.0), ratio, FullSize())
        counts = [[(at == fallback).all(axis=1).sum(), (at != fallback).any(axis=1).sum()] for at in (mine, its)]
        if min(map(min, counts)) > 5:
            assert scipy.stats.chi2_contingency(counts).pvalue > 0.001
        if ratio == (0.9, 1.1):
            assert counts[0][0] > 5_000


class FullSize(random.Random):
    """Draws that never fit: a window of the full area is as tall as the picture only at the picture's own shape."""

    def uniform(self, a: float, b: float) -> float:
        return b


def torchvision_window(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], generator: random.Random
) -> tuple[int, int, int, int]:
    """`torchvision.transforms.RandomResizedCrop.get_params`, as its source reads."""
    for _ in range(10):
        target_area = height * width * generator.uniform(*scale)
        aspect_ratio = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w = round(math.sqrt(target_area * aspect_ratio))
        h = round(math.sqrt(target_area / aspect_ratio))
        if 0 < w <= width and 0 < h <= height:
            return generator.randint(0, height - h), generator.randint(0, width - w), h, w
    in_ratio = width / height
    if in_ratio < min(ratio):
        w = width
        h = round(w / min(ratio))
    elif in_ratio > max(ratio):
        h = height
        w = round(h * max(ratio))
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(
    ("side", "scale", "ratio", "checksum"),
    [
        (256, (0.08, 1.0), (3 / 4, 4 / 3), 4108926444),
        (500, (0.9, 1.0), (0.2, 5.0), 1245307942),
        (65, (0.9, 1.0), (3 / 4, 4 / 3), 647768100),
    ],
)
def test_windows_of_squares_are_those_of_version_0_1(
    side: int, scale: tuple[float, float], ratio: tuple[float, float], checksum: int
) -> None:
    draws = draw_epoch(100_000, seed=7, epoch=11)
    crop = RandomResizedCrop(scale=scale, ratio=ratio)
    for sizes in (side, np.full((100_000, 2), side, np.int32)):
        assert zlib.crc32(crop.windows(draws, sizes).tobytes()) == checksum


def test_reprs_are_those_of_version_0_1_where_nothing_is_new() -> None:
    """Loader states hold them."""
    assert repr(RandomCrop()) == "RandomCrop(size=224, shared_by=1, centered=False)"
    assert repr(TenCrop(size=3)) == "TenCrop(size=3)"
    assert repr(CenterCrop(crop_pct=0.9)) == "CenterCrop(size=224, crop_pct=0.9)"
    assert repr(RandomResizedCrop()).startswith("RandomResizedCrop(size=224, scale=(0.08, 1.0), ratio=(0.75, ")
    assert "resize=256" in repr(RandomCrop(resize=256))


def test_filters_are_drawn_by_seed_and_epoch() -> None:
    crop, epochs = RandomResizedCrop(interpolation="random"), [(1, 2), (1, 3), (2, 2)]
    drawn = [crop.choose(draw_epoch(10_000, seed=s, epoch=e), 256)["filter"] for s, e in epochs]
    for filters in drawn:
        assert abs(np.mean(filters == filters[0]) - 0.5) < 0.02
    assert abs(np.mean(drawn[0] == drawn[1]) - 0.5) < 0.02
    assert abs(np.mean(drawn[0] == drawn[2]) - 0.5) < 0.02


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(size=224, resize=200), r"`resize` \(=200\) must be at least the crop's `size` \(=224\)"),
        (lambda: TenCrop(resize=10**5), r"`resize` \(=100000\) must be .* at most 65500"),
        (lambda: CenterCrop(resize=256, crop_pct=0.9), "`resize` or `crop_pct`, not both"),
        (lambda: CenterCrop(crop_pct=1.5), r"`crop_pct` \(=1.5\) must lie in"),
        (lambda: RandomCrop(interpolation="nearest"), "must be one of bilinear, bicubic, random"),
        (lambda: Transform(crop=CenterCrop(resize=256)), "a mean image does not fit resized crops"),
    ],
)
def test_wrong_crops_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        make()


def test_what_does_not_fit_the_pictures_is_named(mixed: Mixed) -> None:
    smallest = int(mixed.sizes.min(axis=1).argmin())
    height, width = mixed.sizes[smallest].tolist()
    assert min(height, width) == 17
    message = (
        f"a crop of 18 pixels does not fit the dataset's smallest image, sample {smallest} of {height} x {width} "
        "pixels; give the crop a `resize`"
    )
    for crop in (RandomCrop(size=18), CenterCrop(size=18), TenCrop(size=18)):
        with pytest.raises(FreelightError, match=message):
            Loader(mixed.dataset, "train", batch_size=4, transform=plain(crop))
    with pytest.raises(FreelightError, match="an image that is no square needs the `sizes` of all samples"):
        plain(RandomCrop(size=8)).apply(mixed.decoded[smallest], draw_epoch(4, seed=0, epoch=0), 0, None)


def test_a_mean_image_is_for_squares_alone(mixed: Mixed, statistics: Statistics) -> None:
    """Here the statistics are another dataset's."""
    with pytest.raises(FreelightError, match="a mean image is for squares of one size, but the dataset's images diff"):
        Loader(
            mixed.dataset, "train", batch_size=4, transform=Transform(crop=RandomCrop(size=8)), statistics=statistics
        )


def test_the_preview_shows_pictures_of_any_size(mixed: Mixed) -> None:
    dataset, preview = mixed.dataset, Preview(rows=2, draws=1)
    sheet = draw_preview(dataset, dataset.split("train"), compute_statistics(dataset), preview)
    assert sheet.width > 400
    assert sheet.height > 1000
