"""Random resized crops in each geometry: the loader, plain DALI, FFCV, and webdataset with torchvision."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import torch

from freelight.benchmarks.dali_augmentations import augmenting_graph
from freelight.benchmarks.device import threads_for
from freelight.benchmarks.geometries import GEOMETRIES, Made, geometry_rows, make_datasets
from freelight.benchmarks.loader_graphs import decoding_graph, read_jpegs
from freelight.benchmarks.loading import (
    Part,
    epochs_contender,
    loader_contender,
    peer_contender,
    ratio_figure,
    ratio_floor,
)
from freelight.benchmarks.sides.settings import MEAN, STD
from freelight.benchmarks.timing import Contender, Timings, interleave
from freelight.pipeline import Layout, Lighting, Loader, RandomResizedCrop, Transform
from freelight.shards import Dataset

CROP, OFF = RandomResizedCrop(size=224), Lighting(mode="off")
TRANSFORMS = {
    "uint8": Transform(crop=CROP, mean="none", lighting=OFF, dtype="uint8"),
    "float32": Transform(crop=CROP, mean=MEAN, std=STD, lighting=OFF),
}
LOADERS: dict[str, tuple[str, Layout]] = {
    "loader, uint8, NHWC": ("uint8", "NHWC"),
    "loader, float32, NHWC": ("float32", "NHWC"),
    "loader, float32": ("float32", "NCHW"),
}
"""FFCV's batches are NHWC in memory, those of DALI and torchvision NCHW."""
DALI, WHOLE, WINDOW = "DALI, float32", "decode whole images", "decode windows"
FFCV, WEBDATASET = {"uint8": "FFCV, uint8", "float32": "FFCV, float32"}, "webdataset + torchvision"

FLOORS = (
    ("loader, uint8, NHWC", FFCV["uint8"], 1.2),
    ("loader, float32, NHWC", FFCV["float32"], 1.2),
)
WEBDATASET_FLOORS = {"square 256": 2.2, "shorter 256": 2.2, "original": 1.6}
"""Of the loader in float32. Decoding, which both do with the same library, takes the more the larger the pictures."""
FIGURES = (("loader, float32", DALI), (WINDOW, WHOLE))
TABLED = ("loader, uint8, NHWC", "loader, float32")


def measure_resized_crops(images: Path, *, batch_size: int, rounds: int, peers: Path, device: torch.device) -> Part:
    """Make a dataset of each geometry from `images`, and compare all on it.

    Geometries follow one after another, because ratios are within a geometry: only its contenders run at a time.
    """
    several: dict[str, Timings] = {}
    with tempfile.TemporaryDirectory(prefix="freelight-benchmark-") as folder:
        made = make_datasets(images, Path(folder))
        for name, one in made.items():
            with ExitStack() as stack:
                contenders = list(_contenders(name, one, batch_size, peers, device, stack))
                several[name] = interleave(contenders, rounds=rounds)
    timings = Timings.joined(several.values())
    compared = [name for name in made if GEOMETRIES[name].is_compared]
    return Part(
        timings=timings,
        floors=tuple(
            ratio_floor(timings, one, base, bound, group=f"{name}: ")
            for name in compared
            for one, base, bound in (*FLOORS, ("loader, float32", WEBDATASET, WEBDATASET_FLOORS[name]))
        ),
        figures=tuple(
            ratio_figure(timings, one, base, group=f"{name}: ") for name in compared for one, base in FIGURES
        ),
        notes=tuple(f"{name}: {one.describe()}" for name, one in made.items()),
        tables=(geometry_rows(made, {name: [timings.rate(f"{name}: {one}") for one in TABLED] for name in made}),),
    )


def _contenders(
    geometry: str, made: Made, batch_size: int, peers: Path, device: torch.device, stack: ExitStack
) -> Iterator[Contender]:
    """Yield the contenders on one dataset; `stack` ends the processes of the peers."""
    dataset = Dataset(made.folder)
    for name, (dtype, layout) in LOADERS.items():
        loader = Loader(
            dataset,
            "train",
            batch_size=batch_size,
            transform=TRANSFORMS[dtype],
            layout=layout,
            device=device,
            num_threads=threads_for(device),
        )
        yield loader_contender(f"{geometry}: {name}", loader, 1)
    if not GEOMETRIES[geometry].is_compared:
        return
    jpegs = read_jpegs(dataset)
    for name, graph in (
        (DALI, augmenting_graph(jpegs, batch_size, "plain", MEAN, STD, device)),
        (WHOLE, decoding_graph(jpegs, batch_size, device, window=False)),
        (WINDOW, decoding_graph(jpegs, batch_size, device, window=True)),
    ):
        yield epochs_contender(f"{geometry}: {name}", graph, 1, batch_size=batch_size, device=device)
    given, rest = (str(made.folder), "resized", str(batch_size)), (*map(str, (*MEAN, *STD)), "1")
    for mode, name in FFCV.items():
        yield stack.enter_context(peer_contender(f"{geometry}: {name}", "ffcv", (*given, mode, *rest), peers, device))
    words = (*given, "tensor", "plain", *rest)
    yield stack.enter_context(peer_contender(f"{geometry}: {WEBDATASET}", "torchvision", words, peers, device))
