"""Write a trained network as a file that other software reads, with all that its use needs."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ... import __version__
from ...shards import FreelightError
from ...shards.base import atomic_write
from ..checkpoint import Checkpoint
from ..checkpoint_file import write_content
from ..network.network import Network
from .plain_torch import HEADING, plain_torch

SUFFIXES = (".safetensors", ".pt", ".onnx")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written. files: the paths. parameters: number of weights and biases.

    difference: of onnxruntime's logits from the network's, at most, relative to the largest logit; None if they were
    not compared.
    """

    files: tuple[Path, ...]
    parameters: int
    difference: float | None = None


def export_network(trained: Checkpoint, path: Path) -> Exported:
    """Write a checkpoint's network in float32 to a file whose ending decides the format.

    `.safetensors`: weights by name and `mean_image` (3, S, S); the rest as text in the metadata. `.pt`: a dict for
    `torch.load(path, weights_only=True)` with `state_dict`, `mean_image` and the rest as plain values; beside it
    `.py`, a module of plain PyTorch with that network. `.onnx`: a graph that also subtracts the mean's centre crop; it
    is compared with the network first if onnxruntime is installed.

    Each file is written atomically. Raises `FreelightError` for another ending, a missing package, weights too large
    for float32, a `.pt` or `.py` that something else wrote, or an ONNX graph that differs by more than 1e-5.
    """
    if path.suffix not in SUFFIXES:
        raise FreelightError(f"`out` {path} must end in {' or '.join(SUFFIXES)}")
    network = trained.network().float()
    if not all(bool(weight.isfinite().all()) for weight in network.parameters()):
        raise FreelightError("the network has weights that are too large for float32; name another checkpoint")
    parameters = sum(weight.numel() for weight in network.parameters())
    if path.suffix == ".pt":
        return Exported(files=_write_torch(trained, network, path), parameters=parameters)
    try:
        if path.suffix == ".onnx":
            difference = _write_onnx(trained, network, path)
            return Exported(files=(path,), parameters=parameters, difference=difference)
        _write_safetensors(trained, network, path)
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        raise FreelightError(
            f"{path} needs the package {name}; install it with: pip install 'freelight[export]'"
        ) from None
    return Exported(files=(path,), parameters=parameters)


def _write_safetensors(trained: Checkpoint, network: Network, path: Path) -> None:
    from safetensors.torch import save

    data = save({**network.state_dict(), "mean_image": _mean_image(trained)}, _as_text(_description(trained)))
    with atomic_write(path) as file:
        file.write(data)


def _write_onnx(trained: Checkpoint, network: Network, path: Path) -> float | None:
    from .onnx_file import write_onnx

    crop = trained.recipe.crop_size
    start = (trained.image_size - crop) // 2
    mean = _mean_image(trained)[:, start : start + crop, start : start + crop].numpy()
    own = f"images, float32 (N, 3, {crop}, {crop}): RGB, 0-255; the graph subtracts the mean image's centre crop"
    return write_onnx(network, crop, mean, _as_text({**_description(trained), "input": own}), path)


def _write_torch(trained: Checkpoint, network: Network, path: Path) -> tuple[Path, ...]:
    module = path.with_suffix(".py")
    for file in (path, module):  # `train.py` and a run's `best.pt` are no exports
        if file.exists() and not _is_exported(module):
            raise FreelightError(f"{file} exists and is no export; choose another `out`")
    # The module first: by it an export that was killed in between is known, and replaced.
    with atomic_write(module) as lines:
        lines.write(plain_torch(network, trained.recipe.crop_size).encode())
    content = {"state_dict": network.state_dict(), "mean_image": _mean_image(trained), **_description(trained)}
    write_content(path, content)
    return path, module


def _is_exported(module: Path) -> bool:
    """Tell whether a file is a module that `_write_torch` wrote."""
    heading = HEADING.encode()
    try:
        with module.open("rb") as file:
            return file.read(len(heading)) == heading
    except FileNotFoundError:
        return False


def _mean_image(trained: Checkpoint) -> torch.Tensor:
    """Return the training set's mean image: float32 (3, S, S), RGB, 0-255."""
    return torch.as_tensor(trained.statistics.require_mean_image()).permute(2, 0, 1).contiguous()


def _description(trained: Checkpoint) -> dict[str, Any]:
    """Return what the use of the weights needs, and where they come from, as plain values."""
    crop = trained.recipe.crop_size
    subtracted = "same" if trained.recipe.mean == "image" else "centre"
    return {
        "input": f"float32 (N, 3, {crop}, {crop}): RGB crops, 0-255, less the {subtracted} crop of mean_image",
        "output": "logits (N, classes), in the order of class_ids",
        "crop_size": crop,
        "image_size": trained.image_size,
        "mean": trained.recipe.mean,
        "class_ids": trained.class_ids,
        "class_names": trained.class_names,
        "rescaling": dataclasses.asdict(trained.rescaling),
        "recipe": trained.recipe.name,
        "freelight": __version__,
    }


def _as_text(description: dict[str, Any]) -> dict[str, str]:
    """Return a description for metadata, which are texts: other values as JSON."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in description.items()}
