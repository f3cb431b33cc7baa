"""Pictures for people, drawn by Pillow: boxes of text and pixels, views rendered by the graph, and the preview."""

from .boxes import FAINT, INK, PAPER, below, beside, framed, save_png, text_box, tile, wrapped
from .choosing import one_of_each_class
from .preview import Preview, draw_preview
from .referring import load_reference
from .rendering import render, sweep_draws
from .steps import Step, StepRenderer, take_apart
from .transform_sheet import draw_transform

__all__ = [
    "FAINT",
    "INK",
    "PAPER",
    "Preview",
    "Step",
    "StepRenderer",
    "below",
    "beside",
    "draw_preview",
    "draw_transform",
    "framed",
    "load_reference",
    "one_of_each_class",
    "render",
    "save_png",
    "sweep_draws",
    "take_apart",
    "text_box",
    "tile",
    "wrapped",
]
