"""A policy whose operations are listed by a test, run as a DALI graph."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn, pipeline_def

from freelight.pipeline import Context, GraphContext
from freelight.pipeline.ops import Arrays
from freelight.pipeline.ops.policies.operations import OPERATIONS
from freelight.pipeline.ops.policies.policy import Plan, Policy

Pixels = npt.NDArray[np.uint8]

STRENGTHS = {
    "Identity": (0, 0, 0, 0, 0),
    "ShearX": (-0.99, -0.3, 0.09, 0.3, 0.99),
    "ShearY": (-0.99, -0.3, 0.09, 0.3, 0.99),
    "TranslateX": (-50, -32, 0, 9, 30),
    "TranslateY": (-50, -32, 0, 9, 30),
    "Rotate": (-135, -9, 4.5, 30, 90),
    "Brightness": (0.01, 0.1, 0.73, 1.27, 1.99),
    "Color": (0.01, 0.1, 0.73, 1.27, 1.99),
    "Contrast": (0.01, 0.1, 0.73, 1.27, 1.99),
    "Sharpness": (0.01, 0.1, 0.73, 1.27, 1.99),
    "Posterize": (1, 2, 4, 7, 8),
    "Solarize": (0, 1, 128, 255, 256),
    "SolarizeAdd": (0, 11, 50, 110, 128),
    "AutoContrast": (0, 0, 0, 0, 0),
    "Equalize": (0, 0, 0, 0, 0),
    "Invert": (0, 0, 0, 0, 0),
}
"""Five values of each operation."""


@dataclass(frozen=True, kw_only=True)
class Listed(Policy):
    """Applies `OPERATIONS` as they are drawn: from lists, not by a generator."""

    name = "listed"
    names = tuple(OPERATIONS)

    length: int = 1

    @property
    def layers(self) -> int:
        return self.length

    def plan(self, drawn: Arrays, side: int) -> Plan:
        return drawn["operations"], drawn["values"]

    def chosen(self, steps: list[list[tuple[str, float]]], side: int) -> Arrays:
        """Return the graph's arguments for the operations of each image, with their values."""
        context = Context(image_size=None, crop_size=side, statistics=None)
        operations = np.array([[self.names.index(name) for name, _ in layers] for layers in steps])
        values = np.array([[value for _, value in layers] for layers in steps], np.float64)
        return self.choose({"operations": operations, "values": values}, context)

    def by_graph(self, images: Pixels, steps: list[list[tuple[str, float]]]) -> Pixels:
        """Apply the operations of each image in one batch."""
        context = GraphContext(image_size=None, crop_size=images.shape[1], statistics=None, device="cpu", axes="HWC")
        chosen = self.chosen(steps, images.shape[1])

        def define() -> Any:
            image, kinds, numbers = fn.external_source(
                lambda: (images, chosen["kinds"], chosen["numbers"]), num_outputs=3, layout=["HWC", "", ""]
            )
            return self.nodes(image, {"kinds": kinds, "numbers": numbers}, context)

        pipeline = pipeline_def(define, enable_conditionals=True)(
            batch_size=len(images), num_threads=1, device_id=None, prefetch_queue_depth=1
        )
        pipeline.build()
        (output,) = pipeline.run()
        return np.stack([np.asarray(image) for image in output])

    def by_reference(self, images: Pixels, steps: list[list[tuple[str, float]]]) -> Pixels:
        """Apply them in numpy, image by image."""
        context = Context(image_size=None, crop_size=images.shape[1], statistics=None)
        chosen = self.chosen(steps, images.shape[1])
        return np.stack(
            [
                self.reference(image, {"kinds": kinds, "numbers": numbers}, context)
                for image, kinds, numbers in zip(images, chosen["kinds"], chosen["numbers"], strict=True)
            ]
        )
