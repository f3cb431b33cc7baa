"""Policies: operations drawn for each image, as in torchvision and timm."""

from .policy import Policy
from .rand_augment import RandAugment
from .trivial_augment import TrivialAugmentWide

__all__ = ["Policy", "RandAugment", "TrivialAugmentWide"]
