"""Sampling plans: which samples an epoch has, and how often."""

from .plan import Everything, Plan

__all__ = ["Everything", "Plan"]
