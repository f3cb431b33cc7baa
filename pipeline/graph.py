"""A `Transform` as a DALI graph: the same graph on the CPU and on a GPU, with the device as its only difference."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from nvidia.dali import Pipeline, fn, pipeline_def, types
from nvidia.dali.backend import TensorCPU, TensorListCPU

from ..shards import FreelightError, Statistics
from .choices import Choices
from .ops import Decoding, Feed, GraphContext, Op, View
from .ops.context import untranslated
from .ops.normalize import cast
from .reading import Encoded
from .transform import Transform, fed_name

Layout = Literal["NCHW", "NHWC"]
Beginning = Literal["jpegs", "pictures", "windows", "crops"]
"""The first input of a graph: JPEGs; or pixels, uint8 (h, w, 3), of whole pictures, windows to be resized, or crops."""


def graph_inputs(transform: Transform) -> list[str]:
    """Return the names of the graph's inputs, in order: the JPEGs, then the arguments with one value per image."""
    return ["jpeg", *transform.feeds()]


def graph_feed(choices: Choices, samples: npt.NDArray[np.int32], jpegs: Sequence[Encoded]) -> list[TensorListCPU]:
    """Return the graph's inputs for `samples` and their encoded images `jpegs`, in the order of `graph_inputs`.

    choices: of `Transform.choose`. Each input is one of DALI's tensor lists, which shares the memory of what it holds.
    """
    return [tensor_list(jpegs), *as_lists(choices.take(samples).values())]


def tensor_list(images: Iterable[Encoded]) -> TensorListCPU:
    """Return encoded or decoded images, of any sizes, as a tensor list.

    Of a list of arrays DALI makes one in the main thread, in Python.
    """
    tensors = [TensorCPU(image) for image in images]
    return TensorListCPU(tensors, contiguous=False)  # type: ignore[call-overload, no-any-return]  # DALI's stub is old


def as_lists(arrays: Iterable[npt.NDArray[Any]]) -> list[TensorListCPU]:
    """Return contiguous arrays with a row for each image as tensor lists."""
    return [TensorListCPU(array) for array in arrays]


def beginning_of(
    transform: Transform, device_id: int | None, *, layout: Layout = "NCHW", is_stored: bool = False
) -> Beginning:
    """Return what a loader's graph begins with. is_stored: decoded pixels are kept.

    On the CPU `Resizer` makes resized crops. It cuts stored pixels only if the graph would need a kernel more for that
    than for crops; otherwise the graph cuts out of whole pictures, which are fed as they are mapped.
    """
    crop = transform.crop
    if crop.resizes and transform.views == 1:
        return "crops" if device_id is None else ("windows" if is_stored else "jpegs")
    if not is_stored:
        return "jpegs"
    flips_alone = layout == "NHWC" and crop.is_random and (transform.dtype == "uint8" or transform.mean == "image")
    cuts_alone = flips_alone or any(transform.ops_at("pixels"))
    return "crops" if cuts_alone and transform.views == 1 and device_id is None else "pictures"


def beginnings_of(
    transforms: Iterable[Transform], device_id: int | None, *, layout: Layout, is_stored: bool
) -> list[Beginning]:
    """Return `beginning_of` each of a loader's transforms; where crops are made for one, they are for all."""
    found = [beginning_of(one, device_id, layout=layout, is_stored=is_stored) for one in transforms]
    return ["crops" if one == "pictures" and "crops" in found else one for one in found]


def define_decoding(
    *,
    source: Callable[[], Sequence[Any]],
    batch_size: int,
    num_threads: int,
    prefetch: int = 2,
    decoding: Decoding = Decoding(),  # noqa: B008
) -> Pipeline:
    """Define the pipeline that only decodes, on the CPU: JPEGs, starts and shapes of windows to uint8 (h, w, 3)."""
    pipeline = Pipeline(batch_size=batch_size, num_threads=num_threads, device_id=None, prefetch_queue_depth=prefetch)
    with pipeline:
        window = {"start": Feed("int32", 1), "shape": Feed("int32", 1)}
        fed = _external({"jpeg": Feed("uint8", 1), **window}, source, no_copy=True)
        context = GraphContext(
            image_size=None, crop_size=0, statistics=None, device="cpu", axes="HWC", decoding=decoding
        )
        pipeline.set_outputs(context.decoded_slice(*fed.values()))
    return pipeline


def define_pipeline(
    transform: Transform,
    *,
    source: Callable[[], Sequence[Any]],
    image_size: int | None,
    statistics: Statistics | None,
    batch_size: int,
    num_threads: int,
    prefetch: int,
    device_id: int | None,
    layout: Layout = "NCHW",
    beginning: Beginning = "jpegs",
    decoding: Decoding = Decoding(),  # noqa: B008
) -> Pipeline:
    """Define (not build) the DALI pipeline of `transform`.

    source: called for each batch; returns a tensor list, a list or an array for each of `graph_inputs(transform)`, or
    raises `StopIteration`. On the CPU their memory is not copied, and must not change until the batch is returned.
    image_size: side of the encoded images, pixels; None if they are not squares of one size. device_id: the GPU, or
    None for the CPU. batch_size: the largest batch. prefetch: batches in flight. beginning: the first input, and the
    inputs that follow are those of `inputs_after`; crops are uint8 (n, size, size, 3). decoding: of JPEGs. DALI checks
    devices and arguments during this call.
    """
    if layout not in get_args(Layout):
        raise FreelightError(f"`layout` {layout!r} is not one of {', '.join(get_args(Layout))}")
    transform.check(image_size, statistics)
    context = GraphContext(
        image_size=image_size,
        crop_size=transform.crop.size,
        statistics=statistics,
        device="cpu" if device_id is None else "gpu",
        axes="CHW" if layout == "NCHW" else "HWC",
        decoding=decoding,
    )

    def define() -> Any:
        fed, views = _cut(transform, source, context, beginning)
        for number, view in enumerate(views):
            image = view.image
            for op, own in _pixel_ops(transform, number, fed):
                image = op.nodes(image, own, context) if op.has_branches else _changed(op, image, own, context)
            views[number] = view._replace(image=image)
        return _finished(views, transform, fed, context)

    # With conditionals DALI translates the source of what `define` calls.
    defined = pipeline_def(define, enable_conditionals=any(op.has_branches for op in transform.ops))
    pipeline: Pipeline = defined(
        batch_size=batch_size, num_threads=num_threads, device_id=device_id, prefetch_queue_depth=prefetch
    )
    return pipeline


def inputs_after(beginning: Beginning, transform: Transform) -> list[str]:
    """Return the names of the graph's inputs after the first, in order: of `transform.feeds()` what it still needs."""
    used: Collection[str] = ()
    if beginning == "windows":
        used = ("start", "shape")  # of what is decoded
    elif beginning == "crops" and transform.mean != "image":  # whose crop has the same place
        used = transform.crop.feeds()
    return [name for name in transform.feeds() if name not in used]


@untranslated
def _cut(
    transform: Transform, source: Callable[[], Sequence[Any]], context: GraphContext, beginning: Beginning
) -> tuple[dict[str, Any], list[View]]:
    """Return a node for each argument, and the views: cut, if ops change their pixels."""
    all_feeds = transform.feeds()
    feeds = {name: all_feeds[name] for name in inputs_after(beginning, transform)}
    first_feed = Feed("uint8", 1 if beginning == "jpegs" else 3)
    # A GPU's operators may read their inputs after the batch is returned.
    fed = _external({beginning: first_feed, **feeds}, source, no_copy=context.device == "cpu")
    first = fed[beginning]
    if beginning == "jpegs":
        views = transform.crop.nodes(first, fed, context)
    else:
        image = context.on_device(fn.reshape(first, layout="HWC"))
        crop = transform.crop
        make = {"pictures": crop.picture_views, "windows": crop.views_of, "crops": crop.cut_views}[beginning]
        views = make(image, fed, context)
    if any(transform.ops_at("pixels")):
        views = [view._replace(image=view.pixels(context), is_cut=True) for view in views]
    return fed, views


def _external(feeds: dict[str, Feed], source: Callable[[], Sequence[Any]], *, no_copy: bool) -> dict[str, Any]:
    """Return a node for each of `feeds`."""
    nodes = fn.external_source(
        source,
        num_outputs=len(feeds),
        dtype=[types.to_dali_type(feed.dtype) for feed in feeds.values()],
        ndim=[feed.ndim for feed in feeds.values()],
        no_copy=no_copy,
    )
    return dict(zip(feeds, nodes, strict=True))


@untranslated
def _pixel_ops(transform: Transform, view: int, fed: Mapping[str, Any]) -> list[tuple[Op, dict[str, Any]]]:
    """Return the ops of the crop's pixels with the nodes of their arguments."""
    return [(op, _own(op, place, view, fed)) for place, op in transform.ops_at("pixels")]


def _own(op: Op, place: int, view: int, fed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes of an op's arguments."""
    return {argument: fed[fed_name(op, place, view, argument)] for argument in op.feeds()}


@untranslated
def _changed(op: Op, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
    return op.nodes(image, fed, context)


@untranslated
def _finished(views: list[View], transform: Transform, fed: dict[str, Any], context: GraphContext) -> Any:
    """Return the node of all views, normalized."""
    finished = [_normalized(view, number, transform, fed, context) for number, view in enumerate(views)]
    return fn.stack(*finished) if len(finished) > 1 else finished[0]


def _normalized(view: View, number: int, transform: Transform, fed: dict[str, Any], context: GraphContext) -> Any:
    dtype = transform.dtype
    if dtype == "uint8":
        return view.flipped(context)
    ops = list(transform.ops_at("normalized"))
    node = transform.normalize.nodes(view, fed.get("light"), context, "float32" if ops else dtype)
    for place, op in ops:
        node = op.nodes(node, _own(op, place, number, fed), context)
    return cast(node, dtype) if ops else node
