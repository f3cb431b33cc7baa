"""Policies: operations drawn for each image, as in torchvision and timm."""

from .auto_augment import AutoAugment
from .policy import Policy
from .rand_augment import RandAugment
from .timm_rand_augment import TimmRandAugment
from .trivial_augment import TrivialAugmentWide

__all__ = ["AutoAugment", "Policy", "RandAugment", "TimmRandAugment", "TrivialAugmentWide"]
