"""Write an ONNX file, after onnxruntime gave the network's logits for it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ...shards import FreelightError
from ...shards.base import atomic_write
from ..network.network import Network
from .onnx_graph import onnx_model

TOLERANCE = 1e-5
"""Largest difference of logits, relative to the largest logit."""
MAX_BYTES = 2**31 - 2**20
"""What a file without external data can hold, less room for the graph."""


def write_onnx(
    network: Network, crop: int, mean: npt.NDArray[np.float32], metadata: dict[str, str], path: Path
) -> float | None:
    """Write the graph, and return the largest relative difference of its logits; None without onnxruntime.

    mean: (3, crop, crop), RGB, 0-255. Raises `FreelightError`, and writes nothing, if the logits differ too much or the
    weights take more than 2 GiB.
    """
    if sum(parameter.nbytes for parameter in network.parameters()) > MAX_BYTES:
        raise FreelightError(f"{path}: the weights take more than 2 GiB, the limit of ONNX; write .safetensors")
    data = onnx_model(network, crop, mean, metadata).SerializeToString()
    difference = _difference(network, crop, mean, data)
    if difference is not None and not difference <= TOLERANCE:
        raise FreelightError(
            f"{path} is not written: onnxruntime's logits differ from the network's by {difference:.1e} of the "
            "largest; write .safetensors, or use another version of onnxruntime"
        )
    with atomic_write(path) as file:
        file.write(data)
    return difference


def _difference(network: Network, crop: int, mean: npt.NDArray[np.float32], data: bytes) -> float | None:
    try:
        from onnxruntime import InferenceSession
    except ImportError:
        return None
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, crop, crop)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(images - mean)).numpy()
    (logits,) = InferenceSession(data, providers=["CPUExecutionProvider"]).run(["logits"], {"images": images})
    return float(np.abs(logits - expected).max() / (np.abs(expected).max() or 1))
