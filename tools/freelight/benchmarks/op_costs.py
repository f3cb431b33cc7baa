"""What each op adds to the loader's graph per image: on one thread of a CPU, or in the whole graph on a GPU."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from freelight.benchmarks.loader_graphs import Feed, epoch_of, own_graph, read_jpegs
from freelight.benchmarks.loading import epochs_contender
from freelight.benchmarks.timing import Timings, interleave
from freelight.pipeline import Loader, Op, Transform, define_pipeline, draw_epoch
from freelight.shards import Dataset
from freelight.shards.base import format_table

IMAGES = 256
WITHOUT = "graph without ops"


@dataclass(frozen=True, kw_only=True)
class OpCosts:
    """Timings of graphs with one op each, and of the graph without. microseconds: what each op adds per image,
    `where`.
    """

    timings: Timings
    microseconds: dict[str, float]
    where: str

    def table(self) -> str:
        """Return the costs as text."""
        rows = [(name, f"{value:.0f}", "") for name, value in self.microseconds.items()]
        return format_table(("op", f"µs an image, {self.where}", ""), rows)


def measure_ops(
    dataset: Dataset, transform: Transform, ops: Mapping[str, Op], *, device: torch.device, rounds: int
) -> OpCosts:
    """Time each of `ops` in a graph of `transform`, which has no op itself.

    On the CPU over crops of `dataset`; on a GPU, whose graph cannot begin with crops, over its JPEGs.
    """
    size = IMAGES // 2
    graphs = {WITHOUT: (), **{f"graph with {name}": (op,) for name, op in ops.items()}}
    transforms = {name: replace(transform, ops=given) for name, given in graphs.items()}
    if device.type == "cpu":
        crops = _crops(dataset, transform)
        epochs = {name: _graph(each, crops) for name, each in transforms.items()}
    else:
        jpegs = read_jpegs(dataset)
        epochs = {name: own_graph(each, dataset, jpegs, None, size, device) for name, each in transforms.items()}
    contenders = [epochs_contender(name, epoch, 1, batch_size=size, device=device) for name, epoch in epochs.items()]
    timings = interleave(contenders, rounds=rounds)
    base = timings.laps[WITHOUT]
    return OpCosts(
        timings=timings,
        microseconds={
            name: median(
                1e6 / lap.rate - 1e6 / without.rate
                for lap, without in zip(timings.laps[f"graph with {name}"], base, strict=True)
            )
            for name in ops
        },
        where="one thread" if device.type == "cpu" else "in the graph from JPEG on",
    )


def _crops(dataset: Dataset, transform: Transform) -> Any:
    """Return crops of up to `IMAGES` samples: uint8 (n, size, size, 3)."""
    plain = Transform(crop=transform.crop, mean="none", lighting=transform.lighting, dtype="uint8")
    with Loader(dataset, "train", batch_size=IMAGES, transform=plain, layout="NHWC") as loader:
        return next(iter(loader)).images.numpy().copy()


def _graph(transform: Transform, crops: Any) -> Callable[[], Iterator[Any]]:
    """Return an epoch of the loader's graph of `transform` over `crops`, on one thread."""
    arguments = transform.choose(draw_epoch(len(crops), seed=0, epoch=0), transform.crop.size, None)
    own = transform.crop.feeds()
    draws = {name: values for name, values in arguments.items() if name not in own}
    size = len(crops) // 2
    pipeline = define_pipeline(
        transform,
        source=Feed(crops, draws, size),
        image_size=None,
        statistics=None,
        batch_size=size,
        num_threads=1,
        prefetch=2,
        device_id=None,
        beginning="crops",
    )
    return lambda: epoch_of(pipeline)
