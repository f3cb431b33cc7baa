"""Pictures for people, drawn by Pillow: boxes of text and pixels, views rendered by the graph, and the preview."""

from .boxes import FAINT, INK, PAPER, below, beside, framed, save_png, text_box, tile
from .preview import Preview, draw_preview
from .rendering import render, sweep_draws

__all__ = [
    "FAINT",
    "INK",
    "PAPER",
    "Preview",
    "below",
    "beside",
    "draw_preview",
    "framed",
    "render",
    "save_png",
    "sweep_draws",
    "text_box",
    "tile",
]
