"""Inspection of trained networks: features, similar images, binary codes, the paper's Figure 4, and a run's report."""

from .binary_codes import AutoEncoder, CodeConfig, train_codes
from .charts import COLOURS, GRID, Series, class_error_bars, line_chart, training_curves
from .code_comparison import compare_codes
from .extraction import Extraction
from .features import Space, compute_vectors, extract_features
from .figure4 import draw_predictions, draw_similar
from .gallery import Gallery, Picture, Queries, SimilarImages
from .nearest import Nearest, nearest_codes, nearest_vectors, precision, recall
from .report import report
from .style import NARROW, WIDE, Style
from .vector_file import open_features

__all__ = [
    "COLOURS",
    "GRID",
    "NARROW",
    "WIDE",
    "AutoEncoder",
    "CodeConfig",
    "Extraction",
    "Gallery",
    "Nearest",
    "Picture",
    "Queries",
    "Series",
    "SimilarImages",
    "Space",
    "Style",
    "class_error_bars",
    "compare_codes",
    "compute_vectors",
    "draw_predictions",
    "draw_similar",
    "extract_features",
    "line_chart",
    "nearest_codes",
    "nearest_vectors",
    "open_features",
    "precision",
    "recall",
    "report",
    "train_codes",
    "training_curves",
]
