"""Trained networks as files for other software: safetensors, plain PyTorch, ONNX."""

from .exporting import SUFFIXES, Exported, export_network

__all__ = ["SUFFIXES", "Exported", "export_network"]
