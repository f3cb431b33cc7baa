"""Sampling plans: which samples an epoch has, and how often."""

from .choosing import Weights, choose_plan
from .plan import Plan, Samples
from .subset import Subset

__all__ = ["Plan", "Samples", "Subset", "Weights", "choose_plan"]
