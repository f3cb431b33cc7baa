"""A `Transform` as a DALI graph: the same graph on the CPU and on a GPU, with the device as its only difference."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from nvidia.dali import Pipeline, fn, types

from ..shards import FreelightError, Statistics
from .order import EpochDraws
from .transforms import Transform, Window, cut

Layout = Literal["NCHW", "NHWC"]

_DTYPES = {"uint8": types.UINT8, "float16": types.FLOAT16, "float32": types.FLOAT}

# What the graph is fed for every image: name, DALI type, dimensions.
_INPUTS = {
    "jpeg": (types.UINT8, 1),  # the encoded bytes
    "top": (types.FLOAT, 0),  # the crop's place, as a fraction of the largest offset
    "left": (types.FLOAT, 0),
    "flip": (types.INT32, 0),
    "light": (types.FLOAT, 1),  # RGB shift, grey levels
}


def graph_inputs(transform: Transform) -> list[str]:
    """Name what the graph of `transform` is fed for each image, in order."""
    if transform.views != "random":
        return ["jpeg"]
    return ["jpeg", "top", "left", "flip", *(["light"] if transform.shifts_light else [])]


def graph_feed(
    transform: Transform,
    draws: EpochDraws,
    samples: npt.NDArray[np.int32],
    jpegs: Sequence[bytes],
    *,
    image_size: int,
    statistics: Statistics | None,
) -> list[Any]:
    """Return what the graph is fed for `samples`, whose encoded images are `jpegs`: `graph_inputs(transform)`."""
    inputs: dict[str, Any] = {"jpeg": [np.frombuffer(jpeg, np.uint8) for jpeg in jpegs]}
    names = graph_inputs(transform)
    if "top" in names:
        offsets, flips = transform.random_windows(draws, samples, image_size)
        # DALI rounds fraction * span to the nearest pixel, so each offset comes out as drawn.
        fractions = offsets.astype(np.float32) / max(1, transform.span(image_size))
        inputs.update(top=fractions[:, 0].copy(), left=fractions[:, 1].copy(), flip=flips)
    if "light" in names:
        assert statistics is not None
        inputs["light"] = transform.light_shifts(draws, samples, statistics)
    return [inputs[name] for name in names]


def define_pipeline(
    transform: Transform,
    *,
    source: Callable[[], Sequence[Any]],
    image_size: int,
    statistics: Statistics | None,
    batch_size: int,
    num_threads: int,
    prefetch: int,
    device_id: int | None,
    layout: Layout = "NCHW",
) -> Pipeline:
    """Define (not build) the DALI pipeline of `transform`.

    source: called for each batch; returns one list or array for each of `graph_inputs(transform)`, or raises
    `StopIteration`. image_size: side of the encoded images, pixels. device_id: the GPU, or None for the CPU.
    batch_size: the largest batch. prefetch: batches under way. DALI checks devices and arguments already here.
    """
    if layout not in get_args(Layout):
        raise FreelightError(f"layout {layout!r} is not one of {', '.join(get_args(Layout))}")
    transform.span(image_size)  # raises where the crop does not fit
    if transform.needs_statistics and statistics is None:
        raise FreelightError("the transform subtracts a mean or changes the light: pass the dataset's statistics")
    if statistics is not None and transform.mean == "image" and statistics.mean_image.shape[0] != image_size:
        raise FreelightError(
            f"the mean image has side {statistics.mean_image.shape[0]}, the dataset's images {image_size}; "
            "run compute_pca on this dataset"
        )
    pipeline = Pipeline(
        batch_size=batch_size, num_threads=num_threads, device_id=device_id, prefetch_queue_depth=prefetch
    )
    with pipeline:
        names = graph_inputs(transform)
        nodes = fn.external_source(
            source,
            num_outputs=len(names),
            dtype=[_INPUTS[name][0] for name in names],
            ndim=[_INPUTS[name][1] for name in names],
        )
        inputs = dict(zip(names, nodes, strict=True))
        device = "cpu" if device_id is None else "gpu"
        if transform.views == "random":
            output = _random_view(transform, inputs, statistics, device)
        else:
            output = _fixed_views(transform, inputs["jpeg"], image_size, statistics, device)
        if layout == "NHWC":
            output = fn.transpose(output, perm=[0, 2, 3, 1] if transform.views == "ten" else [1, 2, 0])
        pipeline.set_outputs(output)
    return pipeline


def _random_view(transform: Transform, inputs: dict[str, Any], statistics: Statistics | None, device: str) -> Any:
    """One crop of each image. Only the window is decoded; where a mean image is subtracted, its window is cut alike."""
    place = {"crop": (transform.crop, transform.crop), "crop_pos_y": inputs["top"], "crop_pos_x": inputs["left"]}
    window = fn.decoders.image_crop(inputs["jpeg"], device="cpu" if device == "cpu" else "mixed", **place)
    if transform.dtype == "uint8":
        return fn.crop_mirror_normalize(window, mirror=inputs["flip"], dtype=types.UINT8, output_layout="CHW")
    light = inputs.get("light", np.zeros(3, np.float32).tolist())
    if transform.mean != "image":
        # One kernel: flip, cast, mean, lighting, which is a shift of the mean, and divisor.
        channel_mean = np.zeros(3) if statistics is None else transform.subtracted(statistics).ravel()
        mean = np.float32(channel_mean).tolist()
        shifted = types.Constant(mean) - light if transform.shifts_light else mean
        return fn.crop_mirror_normalize(
            window,
            mirror=inputs["flip"],
            mean=shifted,
            scale=1 / transform.divisor,
            dtype=_DTYPES[transform.dtype],
            output_layout="CHW",
        )
    assert statistics is not None
    mean_image = types.Constant(statistics.mean_image, layout="HWC", device=device)
    mean_window = fn.crop_mirror_normalize(
        mean_image, mirror=inputs["flip"], mean=light, dtype=types.FLOAT, output_layout="CHW", **place
    )
    flipped = fn.crop_mirror_normalize(window, mirror=inputs["flip"], dtype=types.UINT8, output_layout="CHW")
    centred = flipped - mean_window
    return _cast(centred if transform.divisor == 1 else centred * (1 / transform.divisor), transform)


def _fixed_views(transform: Transform, jpeg: Any, image_size: int, statistics: Statistics | None, device: str) -> Any:
    """The centre view, or ten views of an image that is decoded once."""
    image = fn.decoders.image(jpeg, device="cpu" if device == "cpu" else "mixed")
    span = max(1, transform.span(image_size))
    views = []
    for window in transform.fixed_windows(image_size):
        view = fn.crop_mirror_normalize(
            image,
            crop=(transform.crop, transform.crop),
            crop_pos_y=window.top / span,
            crop_pos_x=window.left / span,
            mirror=int(window.flip),
            dtype=types.UINT8,
            output_layout="CHW",
        )
        if transform.dtype != "uint8":
            view = _cast(view - _fixed_mean(transform, window, statistics, device), transform)
        views.append(view)
    return fn.stack(*views) if transform.views == "ten" else views[0]


def _fixed_mean(transform: Transform, window: Window, statistics: Statistics | None, device: str) -> Any:
    """What is subtracted from one fixed view: float32 (3, crop, crop) or (3, 1, 1)."""
    subtracted = np.zeros((1, 1, 3), np.float32) if statistics is None else transform.subtracted(statistics)
    if transform.mean == "image":
        subtracted = cut(subtracted, window, transform.crop)
    return types.Constant(np.ascontiguousarray(subtracted.transpose(2, 0, 1)), layout="CHW", device=device)


def _cast(node: Any, transform: Transform) -> Any:
    return node if transform.dtype == "float32" else fn.cast(node, dtype=_DTYPES[transform.dtype])
