"""Online: a dataset directory -> augmented batches on a device. Any ImageNet model can use it without the trainer."""

from ..shards.base import UnusablePackageError

try:
    import nvidia.dali  # noqa: F401  # first, because no file of this package works without it
except ImportError as error:
    raise UnusablePackageError(
        f"DALI cannot be loaded ({error}); install the wheel for the CUDA version of your driver: "
        "pip install nvidia-dali-cuda130, or nvidia-dali-cuda120"
    ) from error

from .batch import Batch
from .blending import blend_with_previous
from .choices import Choices
from .decoder import resolve_device
from .draws import EpochDraws, Order, draw_epoch
from .graph import Layout, define_pipeline, graph_feed, graph_inputs
from .loader import Loader
from .mix import Blend, Mix, Pairs
from .ops import (
    RGB,
    AutoAugment,
    CenterCrop,
    ColorJitter,
    Context,
    Crop,
    Decode,
    Decoding,
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
    Policy,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Sizes,
    Solarize,
    Stage,
    TenCrop,
    TimmRandAugment,
    TrivialAugmentWide,
    Window,
)
from .reading import OnError
from .sampling import Subset, Weights
from .schedule import Schedule
from .transform import Transform
from .views import Views
from .windowed import ShardWindow, window_shards, windowed_order

__all__ = [
    "RGB",
    "AutoAugment",
    "Batch",
    "Blend",
    "CenterCrop",
    "Choices",
    "ColorJitter",
    "Context",
    "Crop",
    "DType",
    "Decode",
    "Decoding",
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
    "Mix",
    "OnError",
    "Op",
    "Order",
    "Pairs",
    "Policy",
    "RandAugment",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "Schedule",
    "ShardWindow",
    "Sizes",
    "Solarize",
    "Stage",
    "Subset",
    "TenCrop",
    "TimmRandAugment",
    "Transform",
    "TrivialAugmentWide",
    "Views",
    "Weights",
    "Window",
    "blend_with_previous",
    "define_pipeline",
    "draw_epoch",
    "graph_feed",
    "graph_inputs",
    "resolve_device",
    "window_shards",
    "windowed_order",
]
