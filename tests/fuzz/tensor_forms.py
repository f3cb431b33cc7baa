"""The forms of checkpoints: torch's zip files, their tensors, and the bytes of their entries."""

import io
import zipfile
from typing import Any

import numpy as np
import torch
from edits import Edit, NotApplicableError, draw_bytes, edit_bytes
from forms import UNWRITABLE, Form, Strategy, tree_form
from hypothesis import strategies as st

TENSORS = ("bfloat16", "complex64", "float64", "float16", "int64", "expanded", "sparse", "parameter", "meta", "strided")


def _to_arrays(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return tree.numpy()
    if isinstance(tree, dict):
        return {key: _to_arrays(value) for key, value in tree.items()}
    return [_to_arrays(value) for value in tree] if isinstance(tree, list) else tree


def _to_tensors(tree: Any) -> Any:
    if isinstance(tree, np.ndarray):
        try:
            return torch.from_numpy(np.ascontiguousarray(tree).astype(tree.dtype.newbyteorder("=")))
        except TypeError:
            return np.asarray(tree)  # of a type that torch lacks
    if isinstance(tree, dict):
        return {key: _to_tensors(value) for key, value in tree.items()}
    return [_to_tensors(value) for value in tree] if isinstance(tree, list) else tree


def _parse_torch(data: bytes) -> Any:
    return _to_arrays(torch.load(io.BytesIO(data), weights_only=True))


def _save_torch(tree: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()


def _tensor_kind(tensor: torch.Tensor, kind: str) -> torch.Tensor:
    match kind:
        case "expanded":  # 40 GB of numbers that take 4 bytes in the file
            return torch.zeros(1).expand(10**10)
        case "sparse":
            return tensor.to_sparse()
        case "parameter":
            return torch.nn.Parameter(tensor.float())
        case "meta":
            return tensor.to("meta")
        case "strided":
            return tensor.expand(2, *tensor.shape)[1:]
        case _:
            return tensor.to(getattr(torch, kind))


def _apply_tensor(data: bytes, edit: Edit, outside: str) -> bytes:
    """Give one tensor of a checkpoint another type or storage."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    group = content[edit["group"]]
    try:
        group[edit["name"]] = _tensor_kind(group[edit["name"]], edit["kind"])
        return _save_torch(content)
    except UNWRITABLE as error:
        raise NotApplicableError from error


def _draw_tensor(data: bytes) -> Strategy:
    content = torch.load(io.BytesIO(data), weights_only=True)
    places = [
        (group, name)
        for group in ("weights", "velocity", "statistics")
        for name, value in content[group].items()
        if isinstance(value, torch.Tensor)
    ]
    return st.builds(
        lambda place, kind: {"group": place[0], "name": place[1], "kind": kind},
        st.sampled_from(places),
        st.sampled_from(TENSORS),
    )


def _draw_entry(data: bytes) -> Strategy:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist() if info.file_size}
    names = st.sampled_from(list(sizes))
    return names.flatmap(lambda name: st.builds(lambda edit: {"entry": name, "bytes": edit}, draw_bytes(sizes[name])))


def _apply_entry(data: bytes, edit: Edit, outside: str) -> bytes:
    """Edit the bytes of one entry of a zip file, and write the zip again with right checksums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(
                info.filename, edit_bytes(content, edit["bytes"]) if info.filename == edit["entry"] else content
            )
    return buffer.getvalue()


TORCH = tree_form(_parse_torch, lambda tree: _save_torch(_to_tensors(tree)))
TENSOR = Form(_draw_tensor, _apply_tensor)
ZIP_ENTRY = Form(_draw_entry, _apply_entry)
