"""Apply one op to one image: by its numpy reference, and by its DALI nodes."""

from typing import Any

import numpy as np
import numpy.typing as npt
from nvidia.dali import Pipeline, fn

from freelight.pipeline import Context, GraphContext, Op

Pixels = npt.NDArray[Any]


def chosen_by(op: Op, side: int, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Return what an op chooses for one image, in the order of its feeds."""
    chosen = op.choose(op.draw(np.random.default_rng(seed), 1), Context(**context_of(side)))
    return {name: chosen[name] for name in op.feeds()}


def context_of(side: int) -> dict[str, Any]:
    return {"image_size": None, "crop_size": side, "statistics": None}


def of_reference(op: Op, image: Pixels, seed: int = 0) -> Pixels:
    chosen = {name: values[0] for name, values in chosen_by(op, len(image), seed).items()}
    return op.reference(image, chosen, Context(**context_of(len(image))))


def of_graph(op: Op, image: Pixels, seed: int = 0) -> Pixels:
    chosen = chosen_by(op, len(image), seed)
    pipeline = Pipeline(batch_size=1, num_threads=1, device_id=None)
    with pipeline:
        node, *fed = fn.external_source(lambda: [image[None], *chosen.values()], num_outputs=1 + len(chosen))
        graph = GraphContext(**context_of(len(image)), device="cpu", axes="HWC")
        pipeline.set_outputs(op.nodes(fn.reshape(node, layout="HWC"), dict(zip(chosen, fed, strict=True)), graph))
    return np.asarray(pipeline.run()[0].as_array())[0]
