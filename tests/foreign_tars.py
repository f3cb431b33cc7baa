"""WebDataset tars as other people make them: keys like `n01440764_10026`, members `.jpg`, `.cls` and `.json`."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from miniatures import WNIDS, tar_of

from freelight.demo.drawing import draw_picture

SIDE = 112
"""Side of the pictures, pixels."""


def drawn(
    seed: int, *, size: tuple[int, int] = (SIDE, SIDE), mode: str = "RGB", kind: str = "JPEG", **how: Any
) -> bytes:
    """Return a drawn picture as a file. size: width, height, pixels."""
    buffer = io.BytesIO()
    draw_picture(seed % 10, np.random.default_rng(seed), size).convert(mode).save(buffer, kind, **how)
    return buffer.getvalue()


def sample(
    number: int, picture: bytes | None = None, label: int | None = None, suffix: str = "jpg"
) -> list[tuple[str, bytes]]:
    """Return the members of a sample. label: without one, `number` modulo four."""
    label = number % len(WNIDS) if label is None else label
    key = f"{WNIDS[label % len(WNIDS)]}_{number}"
    facts = {"label": label, "filename": f"{key}.JPEG"}
    return [
        (f"{key}.{suffix}", picture or drawn(number)),
        (f"{key}.cls", str(label).encode()),
        (f"{key}.json", json.dumps(facts).encode()),
    ]


def write_tars(folder: Path, name: str, samples: Sequence[list[tuple[str, bytes]]], per_tar: int) -> list[Path]:
    """Write the samples to tars `<name>-0000.tar` and so on, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, first in enumerate(range(0, len(samples), per_tar)):
        members = [member for members in samples[first : first + per_tar] for member in members]
        paths.append(folder / f"{name}-{number:04d}.tar")
        paths[-1].write_bytes(tar_of(members))
    return paths
