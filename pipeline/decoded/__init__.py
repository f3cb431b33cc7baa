"""Decoded pixels of a split, kept in a folder: decoded once, read by every later pass."""

from .filling import Price, fill, price_decoding
from .store import DamagedPixelsError, DecodedCheck, DecodedStore

__all__ = ["DamagedPixelsError", "DecodedCheck", "DecodedStore", "Price", "fill", "price_decoding"]
