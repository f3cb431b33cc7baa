"""Online: a dataset directory -> augmented batches on a device. Any ImageNet model can use it without the trainer."""

from .lighting import Lighting
from .loader import Batch, Loader
from .order import EpochDraws, draw_epoch
from .transforms import Transform, Window

__all__ = ["Batch", "EpochDraws", "Lighting", "Loader", "Transform", "Window", "draw_epoch"]
