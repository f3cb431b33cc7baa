"""Plain DALI pipelines over JPEGs in memory, to compare the loader and its graph with."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from nvidia.dali import Pipeline, fn, types
from torch.utils.dlpack import from_dlpack

from freelight.benchmarks.device import CPU, threads_for
from freelight.pipeline import Transform, define_pipeline, draw_epoch, graph_feed
from freelight.shards import Dataset, Statistics


class Feed:
    """The callback of `fn.external_source`: batches of JPEGs, or of pixels, with their drawn arguments, for ever.

    jpegs: a list or an array.
    """

    def __init__(self, jpegs: Any, draws: dict[str, Any], batch_size: int) -> None:
        self.jpegs = jpegs
        self.draws = draws
        self.batch_size = batch_size
        self.first = 0

    def __call__(self) -> list[Any]:
        """Return the next batch; at the end of an epoch raise `StopIteration`, after which another begins."""
        if self.first >= len(self.jpegs):
            self.first = 0
            raise StopIteration
        span = slice(self.first, self.first + self.batch_size)
        self.first += self.batch_size
        return [self.jpegs[span], *(values[span] for values in self.draws.values())]


class Batches:
    """The callback of `fn.external_source`: the same inputs of an epoch of batches, epoch after epoch."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches
        self.place = 0

    def __call__(self) -> Any:
        """Return the next batch; at the end of an epoch raise `StopIteration`, after which another begins."""
        if self.place == len(self.batches):
            self.place = 0
            raise StopIteration
        self.place += 1
        return self.batches[self.place - 1]


def read_jpegs(dataset: Dataset) -> list[Any]:
    """Read every JPEG of train into memory, in the order of the loader's first epoch."""
    split = dataset.split("train")
    order = draw_epoch(len(split), seed=0, epoch=0).order
    return [np.frombuffer(split.read(sample), np.uint8) for sample in order.tolist()]


def own_graph(
    transform: Transform,
    dataset: Dataset,
    jpegs: list[Any],
    statistics: Statistics | None,
    batch_size: int,
    device: torch.device = CPU,
    *,
    by_image: bool = False,
) -> Callable[[], Iterator[Any]]:
    """Return an epoch of the loader's own graph of `transform`, over `jpegs`.

    by_image: feed an array for each JPEG, as DALI's examples do, which DALI makes a tensor list of in each step. By
    default the lists are made beforehand, so that the main thread does nothing but run the graph.
    """
    draws = draw_epoch(len(jpegs), seed=0, epoch=0)
    choices = transform.choose(draws, dataset.require_squares(), statistics)
    rows = np.arange(len(jpegs), dtype=np.int32)
    spans = [slice(first, first + batch_size) for first in range(0, len(jpegs), batch_size)]
    pipeline = define_pipeline(
        transform,
        source=Feed(jpegs, dict(choices), batch_size)
        if by_image
        else Batches([graph_feed(choices, rows[span], jpegs[span]) for span in spans]),
        image_size=dataset.require_squares(),
        statistics=statistics,
        batch_size=batch_size,
        num_threads=threads_for(device),
        prefetch=3,  # as the loader has it by itself
        device_id=device.index,
    )
    return lambda: epoch_of(pipeline)


def bare_graph(jpegs: list[Any], batch_size: int, device: torch.device = CPU) -> Callable[[], Iterator[Any]]:
    """Return an epoch of DALI's decoding and cropping alone: no flip, uint8, (n, 224, 224, 3)."""
    places = np.random.default_rng(0).integers(0, 33, (len(jpegs), 2)).astype(np.float32) / 32
    feed = Feed(jpegs, {"top": places[:, 0].copy(), "left": places[:, 1].copy()}, batch_size)
    pipeline = _plain_pipeline(batch_size, device)
    with pipeline:
        jpeg, top, left = fn.external_source(
            feed, num_outputs=3, dtype=[types.UINT8, types.FLOAT, types.FLOAT], ndim=[1, 0, 0]
        )
        pipeline.set_outputs(
            fn.decoders.image_crop(
                jpeg, crop=[224, 224], crop_pos_y=top, crop_pos_x=left, device=decoder_device(device)
            )
        )
    return lambda: epoch_of(pipeline)


def decoding_graph(
    jpegs: list[Any], batch_size: int, device: torch.device = CPU, *, window: bool
) -> Callable[[], Iterator[Any]]:
    """Return an epoch of DALI's decoding alone, of whole images or of the windows of random resized crops.

    Yields DALI's lists of images of different sizes, uint8 HWC.
    """
    decode = _window if window else fn.decoders.image
    pipeline = _plain_pipeline(batch_size, device, seed=0)
    with pipeline:
        (jpeg,) = fn.external_source(Feed(jpegs, {}, batch_size), num_outputs=1, dtype=[types.UINT8], ndim=[1])
        pipeline.set_outputs(decode(jpeg, device=decoder_device(device)))
    return lambda: outputs_of(pipeline)


def resized_window(jpeg: Any, device: torch.device) -> Any:
    """Return DALI's own random resized crop of 224 pixels."""
    window = _window(jpeg, device=decoder_device(device))
    return fn.resize(window, size=[224, 224], interp_type=types.INTERP_LINEAR, antialias=True)


def decoder_device(device: torch.device) -> str:
    """Return what DALI calls the device of a decoder whose pixels come out on `device`."""
    return "cpu" if device.type == "cpu" else "mixed"


def _window(jpeg: Any, **settings: Any) -> Any:
    return fn.decoders.image_random_crop(
        jpeg, random_area=[0.08, 1.0], random_aspect_ratio=[3 / 4, 4 / 3], num_attempts=10, **settings
    )


def _plain_pipeline(batch_size: int, device: torch.device, **settings: Any) -> Pipeline:
    return Pipeline(
        batch_size=batch_size,
        num_threads=threads_for(device),
        device_id=device.index,
        prefetch_queue_depth=3,
        **settings,
    )


def epoch_of(pipeline: Pipeline) -> Iterator[Any]:
    """Yield the batches of an epoch of a pipeline whose source is a `Feed`, as tensors that share DALI's memory."""
    return (from_dlpack(output.as_tensor()) for output in outputs_of(pipeline))


def outputs_of(pipeline: Pipeline) -> Iterator[Any]:
    """Yield DALI's lists of an epoch of such a pipeline; on a GPU, ready in the current stream."""
    streams = () if pipeline.device_id is None else (torch.cuda.current_stream(pipeline.device_id),)
    while True:
        try:
            (output,) = pipeline.run(*streams)
        except StopIteration:
            pipeline.reset()
            return
        yield output
