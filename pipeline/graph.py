"""A `Transform` as a DALI graph: the same graph on the CPU and on a GPU, with the device as its only difference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from nvidia.dali import Pipeline, fn, types

from ..shards import FreelightError, Statistics
from .crops import CenterCrop, RandomResizedCrop, TenCrop, Window
from .transform import Choices, Transform

Layout = Literal["NCHW", "NHWC"]

_DTYPES = {"uint8": types.UINT8, "float16": types.FLOAT16, "float32": types.FLOAT}

# What the graph is fed for every image: name, DALI type, dimensions.
_INPUTS = {
    "jpeg": (types.UINT8, 1),  # the encoded bytes
    "top": (types.FLOAT, 0),  # the crop's place, as a fraction of the largest offset
    "left": (types.FLOAT, 0),
    "start": (types.INT32, 1),  # a resized crop's place and shape: top, left; height, width; pixels
    "shape": (types.INT32, 1),
    "flip": (types.INT32, 0),
    "light": (types.FLOAT, 1),  # RGB shift, grey levels
}


def graph_inputs(transform: Transform) -> list[str]:
    """Name what the graph of `transform` is fed for each image, in order."""
    if not transform.is_random:
        return ["jpeg"]
    place = ["start", "shape"] if isinstance(transform.crop, RandomResizedCrop) else ["top", "left"]
    return ["jpeg", *place, "flip", *(["light"] if transform.shifts_light else [])]


def graph_feed(
    transform: Transform,
    choices: Choices | None,
    samples: npt.NDArray[np.int32],
    jpegs: Sequence[bytes],
    *,
    image_size: int,
) -> list[Any]:
    """Return what the graph is fed for `samples`, whose encoded images are `jpegs`: `graph_inputs(transform)`."""
    inputs: dict[str, Any] = {"jpeg": [np.frombuffer(jpeg, np.uint8) for jpeg in jpegs]}
    if choices is not None:
        windows = choices.windows[samples]
        inputs.update(start=windows[:, :2].copy(), shape=windows[:, 2:].copy(), flip=choices.flips[samples])
        # DALI rounds fraction * largest offset to the nearest pixel, so each offset comes out as drawn.
        fractions = windows[:, :2].astype(np.float32) / max(1, image_size - transform.crop.size)
        inputs.update(top=fractions[:, 0].copy(), left=fractions[:, 1].copy())
        if choices.lights is not None:
            inputs["light"] = choices.lights[samples]
    return [inputs[name] for name in graph_inputs(transform)]


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
    if not isinstance(transform.crop, RandomResizedCrop):
        transform.crop.span(image_size)  # raises where the crop does not fit
    if transform.needs_statistics and statistics is None:
        raise FreelightError("the transform subtracts a mean or changes the light: pass the dataset's statistics")
    uses_image = transform.mean in ("image", "center window")
    if uses_image and statistics is not None and statistics.mean_image.shape[0] != image_size:
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
        graph = _Graph(
            transform=transform,
            image_size=image_size,
            statistics=statistics,
            device="cpu" if device_id is None else "gpu",
            order=layout.removeprefix("N"),
        )
        pipeline.set_outputs(graph.random_view(inputs) if transform.is_random else graph.fixed_views(inputs["jpeg"]))
    return pipeline


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """What the parts of the graph share. device: "cpu" or "gpu". order: of an image's axes, "CHW" or "HWC"."""

    transform: Transform
    image_size: int
    statistics: Statistics | None
    device: str
    order: str

    @property
    def decoding(self) -> dict[str, Any]:
        """How images are decoded: on a GPU with chroma upsampled as on the CPU, so that both see the same pixels."""
        return {"device": "cpu" if self.device == "cpu" else "mixed", "jpeg_fancy_upsampling": True}

    def random_view(self, inputs: dict[str, Any]) -> Any:
        """One crop of each image, of which only the window is decoded."""
        transform = self.transform
        size = [transform.crop.size, transform.crop.size]
        if isinstance(transform.crop, RandomResizedCrop):
            window = fn.decoders.image_slice(
                inputs["jpeg"], inputs["start"], inputs["shape"], axis_names="HW", **self.decoding
            )
            window = fn.resize(window, size=size, interp_type=types.INTERP_LINEAR, antialias=True)
            place = {}
        else:
            place = {"crop": size, "crop_pos_y": inputs["top"], "crop_pos_x": inputs["left"]}
            window = fn.decoders.image_crop(inputs["jpeg"], **self.decoding, **place)
        flip, light = inputs["flip"], inputs.get("light", [0.0, 0.0, 0.0])
        if transform.mean == "image":
            # The mean image's window is cut, flipped and lit alike; the image stays uint8 until it is subtracted.
            assert self.statistics is not None
            mean_image = types.Constant(self.statistics.mean_image, layout="HWC", device=self.device)
            subtracted = self._normalize(mean_image, mirror=flip, mean=light, dtype=types.FLOAT, **place)
            return self._scale(self._flip(window, flip) - subtracted)
        if transform.dtype == "uint8":
            return self._flip(window, flip)
        # One kernel: flip, cast, mean, and lighting, which is a shift of the mean.
        mean = transform.channel_mean(self.statistics).tolist()
        shifted = types.Constant(mean) - light if transform.shifts_light else mean
        if transform.mean == "center window":
            assert self.statistics is not None
            centre = transform.mean_window(Window(0, 0, False), self.image_size, self.statistics)
            lit = self._normalize(window, mirror=flip, mean=shifted, dtype=types.FLOAT)
            return self._scale(lit - self._constant(centre))
        std = list(transform.divisors or (1.0, 1.0, 1.0))
        return self._normalize(window, mirror=flip, mean=shifted, std=std, dtype=_DTYPES[transform.dtype])

    def fixed_views(self, jpeg: Any) -> Any:
        """The centre view, or ten views of an image that is decoded once."""
        transform = self.transform
        assert isinstance(transform.crop, CenterCrop | TenCrop)
        image = fn.decoders.image(jpeg, **self.decoding)
        span = max(1, transform.crop.span(self.image_size))
        views = []
        for window in transform.crop.fixed_windows(self.image_size):
            view = self._normalize(
                image,
                crop=(transform.crop.size, transform.crop.size),
                crop_pos_y=window.top / span,
                crop_pos_x=window.left / span,
                mirror=int(window.flip),
                dtype=types.UINT8,
            )
            if transform.dtype != "uint8":
                view = self._scale(view - self._fixed_mean(window))
            views.append(view)
        return fn.stack(*views) if transform.views > 1 else views[0]

    def _fixed_mean(self, window: Window) -> Any:
        """What is subtracted from one fixed view."""
        if self.transform.mean in ("image", "center window"):
            assert self.statistics is not None
            return self._constant(self.transform.mean_window(window, self.image_size, self.statistics))
        return self._constant(self.transform.channel_mean(self.statistics)[None, None])

    def _normalize(self, image: Any, **settings: Any) -> Any:
        return fn.crop_mirror_normalize(image, output_layout=self.order, **settings)

    def _flip(self, window: Any, flip: Any) -> Any:
        """Flip uint8 images. `fn.flip`, which leaves the axes as they are, takes half the time."""
        if self.order == "HWC":
            return fn.flip(window, horizontal=flip)
        return self._normalize(window, mirror=flip, dtype=types.UINT8)

    def _constant(self, pixels: npt.NDArray[np.float32]) -> Any:
        """Turn float32 (H, W, 3) into a constant of the graph, in its order of axes."""
        ordered = pixels if self.order == "HWC" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return types.Constant(ordered, layout=self.order, device=self.device)

    def _scale(self, node: Any) -> Any:
        """Divide by the transform's divisors, and cast to its dtype."""
        if self.transform.divisors is not None:
            factors = np.array([[[1 / value for value in self.transform.divisors]]], dtype=np.float32)
            node = node * self._constant(factors)
        return node if self.transform.dtype == "float32" else fn.cast(node, dtype=_DTYPES[self.transform.dtype])
