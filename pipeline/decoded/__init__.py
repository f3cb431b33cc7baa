"""Decoded pixels of a split, kept in a folder: decoded once, read by every later pass."""

from .store import DamagedPixelsError, DecodedCheck, DecodedStore

__all__ = ["DamagedPixelsError", "DecodedCheck", "DecodedStore"]
