"""Augmentations added from outside, as by a user: no code under `pipeline/` knows them."""

import dataclasses
import json
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from nvidia.dali import fn

from freelight.pipeline import (
    CenterCrop,
    Choices,
    Context,
    Crop,
    Feed,
    GraphContext,
    Layout,
    Lighting,
    Loader,
    Op,
    RandomCrop,
    RandomResizedCrop,
    TenCrop,
    Transform,
    draw_epoch,
    graph_inputs,
)
from freelight.shards import Dataset, FreelightError, Statistics


@dataclass(frozen=True, kw_only=True)
class Invert(Op):
    """Replace a pixel's value v by 255 - v, in a share `probability` of the crops."""

    name = "invert"
    stage = "pixels"

    probability: float = 0.5

    def draw(self, generator: np.random.Generator, count: int) -> dict[str, npt.NDArray[Any]]:
        return {"drawn": generator.random(count, dtype=np.float32)}

    def choose(self, drawn: dict[str, npt.NDArray[Any]], context: Context) -> dict[str, npt.NDArray[Any]]:
        return {"mask": np.where(drawn["drawn"] < self.probability, 255, 0).astype(np.uint8)}

    def feeds(self) -> dict[str, Feed]:
        return {"mask": Feed("uint8")}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        return image ^ context.on_device(fed["mask"])

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        return image ^ chosen["mask"]


@dataclass(frozen=True, kw_only=True)
class Contrast(Op):
    """Multiply the values by a number from 1 - magnitude to 1 + magnitude, then add the same number to all of them."""

    name = "contrast"
    stage = "normalized"

    magnitude: float = 0.4

    def draw(self, generator: np.random.Generator, count: int) -> dict[str, npt.NDArray[Any]]:
        factor = generator.uniform(1 - self.magnitude, 1 + self.magnitude, count)
        return {"factor": factor.astype(np.float32), "shift": generator.normal(0, 9, count).astype(np.float32)}

    def feeds(self) -> dict[str, Feed]:
        return {"factor": Feed("float32"), "shift": Feed("float32")}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        return image * context.on_device(fed["factor"]) + context.on_device(fed["shift"])

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        return image * chosen["factor"] + chosen["shift"]


@dataclass(frozen=True, kw_only=True)
class Eraser(Op):
    """Blacken the left half. It draws nothing and uses the context, so every image gets the same change."""

    name = "eraser"
    stage = "pixels"

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        return fn.erase(image, anchor=[0.0], shape=[float(context.crop_size // 2)], axis_names="W", fill_value=0)

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        return np.where(np.arange(context.crop_size)[:, None] < context.crop_size // 2, np.uint8(0), image)


SIZE = 48
OPS = (Invert(), Contrast(), Eraser(), Contrast(magnitude=0.1))
CROPS = (RandomCrop(size=SIZE), RandomResizedCrop(size=SIZE), CenterCrop(size=SIZE), TenCrop(size=SIZE))
PIXELS = Transform(crop=CROPS[0], mean="none", lighting=Lighting(mode="off"), dtype="uint8", ops=(Invert(),))


def transform_of(crop: Crop, **settings: Any) -> Transform:
    return Transform(**{"crop": crop, "mean": "channel", "ops": OPS, **settings})


def images_of(*loaders: Loader) -> dict[int, bytes]:
    """Return the pixels of the rest of the loaders' epoch, by sample."""
    found: dict[int, bytes] = {}
    for loader in loaders:
        for batch in loader:
            for sample, image in zip(batch.samples.tolist(), batch.images.numpy(), strict=True):
                assert sample not in found
                found[sample] = image.tobytes()
    return found


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "transform",
    [
        *(transform_of(crop) for crop in CROPS),
        transform_of(CROPS[0], mean="image", std=(58.0, 57.0, 56.0)),
        transform_of(CROPS[3], mean="center window"),
        transform_of(CROPS[0], mean="center window", dtype="float16"),
        PIXELS,
        dataclasses.replace(PIXELS, crop=CROPS[3]),
    ],
    ids=lambda transform: f"{type(transform.crop).__name__}-{transform.mean}-{transform.dtype}",
)
def test_the_graph_is_the_ops_reference(
    transform: Transform,
    layout: Layout,
    dataset: Dataset,
    statistics: Statistics,
    decoded: dict[str, npt.NDArray[np.uint8]],
) -> None:
    """Equal as uint8, within 1e-3 as float32. A resized crop may differ by one grey level times the contrasts."""
    loader = Loader(
        dataset,
        "train",
        batch_size=20,
        transform=transform,
        statistics=statistics,
        seed=3,
        layout=layout,
        extras=("samples",),
    )
    draws = draw_epoch(60, seed=3, epoch=0)
    batch = next(iter(loader))
    tolerance = {"uint8": 0.0, "float32": 1e-3, "float16": 0.25}[transform.dtype]
    for sample, image in zip(batch.samples.tolist(), batch.images.numpy(), strict=True):
        expected = transform.apply(decoded["train"][sample], draws, sample, statistics)
        image = np.moveaxis(image, -1, -3) if layout == "NHWC" else image
        assert image.shape == expected.shape
        error = np.abs(image.astype(np.float64) - expected)
        if isinstance(transform.crop, RandomResizedCrop):  # DALI repeats the edge where it shrinks a window
            assert error[:, 1:-1, 1:-1].max() <= 1.4 * 1.1 + tolerance
        else:
            assert error.max() <= tolerance


def test_the_samples_do_not_depend_on_batches_prefetch_or_ranks(dataset: Dataset, statistics: Statistics) -> None:
    def loader(**settings: Any) -> Loader:
        transform = transform_of(CROPS[0])
        return Loader(
            dataset,
            "train",
            **{"transform": transform, "statistics": statistics, "seed": 1, "extras": ("samples",), **settings},
        )

    whole = images_of(loader(batch_size=60))
    assert len(whole) == 60
    for settings in ({"batch_size": 7, "prefetch": 0}, {"batch_size": 16, "prefetch": 3, "num_threads": 1}):
        assert images_of(loader(**settings)) == whole
    assert images_of(*(loader(batch_size=16, rank=rank, world_size=3) for rank in range(3))) == whole


@pytest.mark.parametrize("steps", [1, 3])
def test_an_epoch_resumes_inside_it_on_other_ranks(steps: int, dataset: Dataset) -> None:
    first = Loader(dataset, "train", batch_size=8, transform=PIXELS, seed=1, extras=("samples",))
    whole = images_of(first)
    first.set_epoch(0)
    for _ in zip(range(steps), first, strict=False):
        pass
    state = json.loads(json.dumps(first.state_dict()))
    others = [
        Loader(dataset, "train", batch_size=5, transform=PIXELS, seed=1, rank=r, world_size=3, extras=("samples",))
        for r in range(3)
    ]
    for loader in others:
        loader.load_state_dict(state)
    rest = images_of(*others)
    assert rest.items() <= whole.items()
    assert len(rest) == 60 - 8 * steps


def test_a_state_is_of_its_ops(dataset: Dataset) -> None:
    loader = Loader(dataset, "train", batch_size=8, transform=PIXELS)
    next(iter(loader))
    state = loader.state_dict()
    assert "ops=(Invert(probability=0.5),)" in state["transform"]
    for ops in ((), (Invert(probability=0.4),)):
        other = Loader(dataset, "train", batch_size=8, transform=dataclasses.replace(PIXELS, ops=ops))
        with pytest.raises(FreelightError, match=r"state is for another transform: .*Invert"):
            other.load_state_dict(state)


def test_the_text_of_a_transform_without_further_ops_is_that_of_version_0_1() -> None:
    """States of older versions hold it."""
    assert repr(Transform(crop=CenterCrop(size=8), mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), dtype="float16")) == (
        "Transform(crop=CenterCrop(size=8), flip_probability=0.5, mean=(1.0, 2.0, 3.0), lighting=Lighting("
        "mode='eigenvalue', strength=0.1, divisor=1.0), std=(4.0, 5.0, 6.0), dtype='float16')"
    )


def test_a_transform_prints_its_steps_in_the_order_in_which_they_are_applied() -> None:
    """Those of pixels before the flip, wherever they stand in `ops`; the text of a state has another order."""
    transform = Transform(
        crop=CenterCrop(size=8), mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), dtype="float16", ops=(Contrast(), Invert())
    )
    assert str(transform).splitlines() == [
        " 1  CenterCrop  size=8, interpolation=bilinear",
        " 2  Invert      probability=0.5",
        " 3  normalize   mean=(1, 2, 3), std=(4, 5, 6)",
        " 4  Contrast    magnitude=0.4",
        " 5  cast        float16",
    ]
    assert [title for title, _ in Transform(ops=(Invert(),)).steps()] == [
        "RandomCrop",
        "Invert",
        "flip",
        "normalize",
        "cast",
    ]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("crop", CROPS)
def test_the_gpu_graph_is_defined_without_a_gpu(
    crop: Crop, layout: Layout, statistics: Statistics, output_devices: Callable[..., list[str]]
) -> None:
    assert output_devices(transform_of(crop), statistics, layout=layout) == ["gpu"]


@pytest.mark.gpu
@pytest.mark.parametrize("crop", CROPS)
def test_the_gpu_gives_the_cpus_batch(crop: Crop, dataset: Dataset, statistics: Statistics) -> None:
    """The decoders differ, by at most one grey level in the mean; contrast makes it 1.54 at most."""
    ours, theirs = (
        next(
            iter(
                Loader(
                    dataset, "train", batch_size=8, transform=transform_of(crop), statistics=statistics, device=device
                )
            )
        ).images.cpu()
        for device in ("cpu", "cuda")
    )
    assert (ours.double() - theirs.double()).abs().mean() <= 1.4 * 1.1


def chosen(transform: Transform, samples: int = 60, *, seed: int = 0, epoch: int = 0) -> Choices:
    return transform.choose(draw_epoch(samples, seed=seed, epoch=epoch), 256, None)


PLAIN = Transform(crop=CROPS[0], mean="none", lighting=Lighting(mode="off"))


def test_each_op_has_a_stream_of_its_own() -> None:
    """Keyed by seed, epoch, name, place and view; independent of crops, flips and the size of the split."""
    two = chosen(dataclasses.replace(PLAIN, ops=(Contrast(), Contrast())))
    one = chosen(dataclasses.replace(PLAIN, ops=(Contrast(),)))
    plain = chosen(PLAIN)
    names = list(one)
    assert names == ["top", "left", "flip", "contrast[0].factor[0]", "contrast[0].shift[0]"]
    assert all(np.array_equal(one[name], plain[name]) for name in plain)
    factor = one[names[3]]
    assert np.array_equal(two[names[3]], factor)
    assert not np.isin(two["contrast[1].factor[0]"], factor).any()
    more = chosen(dataclasses.replace(PLAIN, ops=(Contrast(),)), 9000)[names[3]]
    assert np.array_equal(more[:60], factor)
    assert len(np.unique(more)) > 8990, "blocks are alike"
    for key in ({"seed": 1}, {"epoch": 1}):
        assert not np.isin(chosen(dataclasses.replace(PLAIN, ops=(Contrast(),)), **key)[names[3]], factor).any()
    ten = chosen(dataclasses.replace(PLAIN, crop=CROPS[3], ops=(Contrast(),)))
    assert np.array_equal(ten[names[3]], factor)
    assert not np.isin(ten["contrast[0].factor[9]"], factor).any()


def test_the_draws_are_the_ones_they_were() -> None:
    """If this fails, a run that was started with an older version (or numpy) would resume with other draws."""
    factor = chosen(dataclasses.replace(PLAIN, ops=(Contrast(),)), seed=1, epoch=2)["contrast[0].factor[0]"]
    assert factor[:3] == pytest.approx([1.3458068, 0.7382172, 1.0194919], abs=1e-6)


@dataclass(frozen=True, kw_only=True)
class Table(Invert):
    """An op whose argument, 256 numbers, is larger than its draw."""

    def choose(self, drawn: dict[str, npt.NDArray[Any]], context: Context) -> dict[str, npt.NDArray[Any]]:
        return {"table": np.exp(drawn["drawn"][:, None] * np.linspace(0, 5, 256, dtype=np.float32))}

    def feeds(self) -> dict[str, Feed]:
        return {"table": Feed("float32", 1)}


def test_an_epoch_keeps_the_draws_or_the_choices_whichever_is_smaller() -> None:
    """And a batch has the rows of the whole, to the bit."""
    transform = dataclasses.replace(PLAIN, ops=(Table(), Invert()))
    tracemalloc.start()
    choices = chosen(transform, 10_000)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept - sum(choices[name].nbytes for name in ("top", "left", "flip")) < 10_000 * (4 + 1) + 100_000
    samples = np.random.default_rng(0).permutation(10_000).astype(np.int32)[:37]
    taken = choices.take(samples)
    assert list(taken) == list(choices) == graph_inputs(transform)[1:]
    assert all(np.array_equal(taken[name], choices[name][samples]) for name in taken)


def test_every_argument_is_fed_as_one_array_after_the_jpegs() -> None:
    assert graph_inputs(PIXELS) == ["jpeg", "top", "left", "flip", "invert[0].mask[0]"]
    for name, array in chosen(PIXELS).items():
        assert isinstance(array, np.ndarray), name
        assert len(array) == 60


class NotAnOp:
    pass


class Mutable(Op):
    name = "mutable"
    stage = "pixels"

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        return image

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        return image


@dataclass(frozen=True, kw_only=True)
class Stageless(Invert):
    stage = "somewhere"  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class Mistyped(Invert):
    def feeds(self) -> dict[str, Feed]:
        return {"mask": Feed("int32")}


@dataclass(frozen=True, kw_only=True)
class Short(Invert):
    def draw(self, generator: np.random.Generator, count: int) -> dict[str, npt.NDArray[Any]]:
        return {"drawn": generator.random(1)}


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (NotAnOp(), "`ops` has a NotAnOp, which does not derive from freelight.pipeline.Op"),
        (Mutable(), "op Mutable must be a frozen dataclass: its repr is part of loader states"),
        (Stageless(), "op Stageless must have a `name`, and a `stage` of pixels, normalized"),
        (Contrast(), "op 'contrast' changes normalized values; uint8 has none"),
    ],
)
def test_wrong_ops_are_named(op: Any, message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        dataclasses.replace(PIXELS, ops=(op,))


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Mistyped(), r"op 'invert': choose returned \{'mask': .*uint8.*\}, but feeds says \{'mask': .*int32"),
        (Short(), "op 'invert': draw returned 1 values of drawn, not 4096"),
    ],
)
def test_wrong_draws_are_named(op: Op, message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        chosen(dataclasses.replace(PIXELS, ops=(op,)))
