"""Online: a dataset directory -> augmented batches on a device. Any ImageNet model can use it without the trainer."""

from .crops import CenterCrop, RandomCrop, RandomResizedCrop, TenCrop, Window
from .draws import EpochDraws, draw_epoch
from .lighting import Lighting
from .loader import Batch, Loader
from .transform import Transform

__all__ = [
    "Batch",
    "CenterCrop",
    "EpochDraws",
    "Lighting",
    "Loader",
    "RandomCrop",
    "RandomResizedCrop",
    "TenCrop",
    "Transform",
    "Window",
    "draw_epoch",
]
