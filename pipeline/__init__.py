"""Online: a dataset directory -> augmented batches on a device. Any ImageNet model can use it without the trainer."""

from .batch import Batch
from .choices import Choices
from .draws import EpochDraws, Order, draw_epoch
from .graph import Layout, define_pipeline, graph_feed, graph_inputs
from .loader import Loader
from .ops import (
    RGB,
    CenterCrop,
    ColorJitter,
    Context,
    Crop,
    DType,
    Feed,
    GaussianBlur,
    GraphContext,
    Grayscale,
    Interpolation,
    Lighting,
    LightingMode,
    Mean,
    Op,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Sizes,
    Solarize,
    Stage,
    TenCrop,
    TrivialAugmentWide,
    Window,
)
from .reading import OnError
from .schedule import Schedule
from .transform import Transform

__all__ = [
    "RGB",
    "Batch",
    "CenterCrop",
    "Choices",
    "ColorJitter",
    "Context",
    "Crop",
    "DType",
    "EpochDraws",
    "Feed",
    "GaussianBlur",
    "GraphContext",
    "Grayscale",
    "Interpolation",
    "Layout",
    "Lighting",
    "LightingMode",
    "Loader",
    "Mean",
    "OnError",
    "Op",
    "Order",
    "RandAugment",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "Schedule",
    "Sizes",
    "Solarize",
    "Stage",
    "TenCrop",
    "Transform",
    "TrivialAugmentWide",
    "Window",
    "define_pipeline",
    "draw_epoch",
    "graph_feed",
    "graph_inputs",
]
