"""Render views with the graph that feeds a network, from given samples and draws."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...shards import Statistics
from ..draws import EpochDraws
from ..graph import define_pipeline, graph_feed
from ..ops import Sizes, side_of
from ..transform import Transform


def render(
    transform: Transform,
    draws: EpochDraws,
    samples: npt.NDArray[np.int32],
    jpegs: Sequence[bytes],
    *,
    sizes: Sizes,
    statistics: Statistics | None,
) -> npt.NDArray[np.uint8]:
    """Run the DALI graph of `transform` once on the CPU; return uint8 (n, crop, crop, 3), rounded and clipped.

    transform: one that subtracts no mean. samples: rows of `draws`, one for each of `jpegs`. sizes: of all rows of
    `draws`, as for `Transform.choose`. DALI also resizes here, within a grey level of what the loader's torch gives.
    """
    choices = transform.choose(draws, sizes, statistics)
    feeds = iter([graph_feed(choices, samples, jpegs)])
    pipeline = define_pipeline(
        transform,
        source=lambda: next(feeds),
        image_size=side_of(sizes),
        statistics=statistics,
        batch_size=len(jpegs),
        num_threads=2,
        prefetch=1,
        device_id=None,
        layout="NHWC",
    )
    (output,) = pipeline.run()
    return np.asarray(output.as_array()).round().clip(0, 255).astype(np.uint8)


def sweep_draws(axes: Sequence[int], sigmas: Sequence[float]) -> EpochDraws:
    """Return draws for `len(axes) * len(sigmas)` samples: central window, no flip, one sigma on one axis."""
    count = len(axes) * len(sigmas)
    lighting = np.zeros((len(axes), len(sigmas), 3), np.float32)
    for row, axis in enumerate(axes):
        lighting[row, :, axis] = sigmas
    return EpochDraws(
        seed=0,
        epoch=0,
        order=np.arange(count, dtype=np.int32),
        crop=np.full((count, 2), 0.5, np.float32),
        flip=np.ones(count, np.float32),
        lighting=lighting.reshape(count, 3),
    )
