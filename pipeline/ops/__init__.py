"""Augmentations, one per file: specification, draws, DALI nodes and numpy reference. `op.py` says how to add one."""

from .color_jitter import ColorJitter
from .context import Context, GraphContext
from .crop import Crop, View, Window
from .decoding import Decode, Decoding
from .fixed_views import CenterCrop, FixedViews, TenCrop
from .flip import Flip
from .gaussian_blur import GaussianBlur
from .grayscale import Grayscale
from .lighting import Lighting, LightingMode
from .normalize import DType, Normalize
from .op import Arrays, Feed, Op, Stage
from .placed_crop import PlacedCrop
from .policies import AutoAugment, Policy, RandAugment, TimmRandAugment, TrivialAugmentWide
from .random_crop import RandomCrop
from .random_erasing import RandomErasing
from .random_resized_crop import RandomResizedCrop
from .resizing import Interpolation, Sizes, side_of
from .solarize import Solarize
from .subtract_mean import RGB, Mean, SubtractMean

__all__ = [
    "RGB",
    "Arrays",
    "AutoAugment",
    "CenterCrop",
    "ColorJitter",
    "Context",
    "Crop",
    "DType",
    "Decode",
    "Decoding",
    "Feed",
    "FixedViews",
    "Flip",
    "GaussianBlur",
    "GraphContext",
    "Grayscale",
    "Interpolation",
    "Lighting",
    "LightingMode",
    "Mean",
    "Normalize",
    "Op",
    "PlacedCrop",
    "Policy",
    "RandAugment",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "Sizes",
    "Solarize",
    "Stage",
    "SubtractMean",
    "TenCrop",
    "TimmRandAugment",
    "TrivialAugmentWide",
    "View",
    "Window",
    "side_of",
]
