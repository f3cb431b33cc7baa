"""Every rank computes with torch's exact and deterministic settings, which a started process does not inherit."""

import functools
from pathlib import Path

import pytest
import torch

from freelight.train import Mesh, StopRequest
from freelight.train.parallel.arithmetic import arithmetic
from freelight.train.parallel.launch import launch


def settings() -> tuple[bool, bool, bool]:
    """Return whether cuDNN is deterministic, and whether TF32 is allowed in convolutions and in matrix products."""
    cudnn = torch.backends.cudnn
    return cudnn.deterministic, cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def note(folder: Path, mesh: Mesh, device: str, stop: StopRequest) -> None:
    (folder / f"{mesh.rank}.txt").write_text(str(settings()))


@pytest.mark.parametrize(
    ("columns", "replicas"),
    [(1, 1), pytest.param(2, 1, marks=pytest.mark.slow), pytest.param(1, 2, marks=pytest.mark.slow)],
)
def test_every_rank_is_deterministic_and_exact(columns: int, replicas: int, tmp_path: Path) -> None:
    before = settings()
    launch(functools.partial(note, tmp_path), columns=columns, replicas=replicas, backend="gloo", remedy="")
    written = [path.read_text() for path in tmp_path.iterdir()]
    assert written == ["(True, False, False)"] * columns * replicas
    assert settings() == before, "the settings are those of a process, which may do other things too"


@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_is_allowed_in_convolutions_and_products_or_in_none(allowed: bool) -> None:
    before = settings()
    with arithmetic(tf32=allowed):
        assert settings() == (True, allowed, allowed)
    assert settings() == before


def test_settings_by_torchs_newer_names_are_read_and_restored() -> None:
    """Torch then refuses to read the older ones."""
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    try:
        conv.fp32_precision = "ieee"
        with pytest.raises(RuntimeError, match="legacy"):
            settings()
        with arithmetic(tf32=True):
            assert conv.fp32_precision == "tf32"
        assert conv.fp32_precision != "tf32"
    finally:
        torch.backends.cudnn.allow_tf32 = before == "tf32"
