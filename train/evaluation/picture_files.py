"""Classify picture files. They are rescaled first, as the training images were."""

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ...pipeline import draw_epoch
from ...shards import FreelightError, Rescaling, rescale_file
from ...shards.base import open_regular
from ...shards.images import check_picture_bytes
from ..checkpoint import Checkpoint
from ..evaluator import default_device
from .inference import inference

TOP = 5
"""How many classes a prediction lists, at most."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class ClassProbability:
    """A class and its probability, 0..1."""

    class_id: str
    name: str
    probability: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PicturePrediction:
    """The most probable classes of a picture, the most probable first.

    source: file name, for people. pixels: uint8 (S, S, 3), RGB, the rescaled picture that the views are cut from.
    true_class: class id, None if unknown.
    """

    source: str
    pixels: Pixels
    top_classes: tuple[ClassProbability, ...]
    true_class: str | None = None

    def asdict(self) -> dict[str, object]:
        """Return plain values, for JSON; without the pixels."""
        classes = [{"id": top.class_id, "name": top.name, "probability": top.probability} for top in self.top_classes]
        return {"image": self.source, "predictions": classes}


def predict_files(trained: Checkpoint, paths: Sequence[Path], *, views: int) -> Iterator[PicturePrediction]:
    """Yield the prediction for each picture file. If a file's folder's name is a class id, that is its true class.

    Raises `FreelightError` at a file that is not a picture.
    """
    device = default_device()
    classes = list(zip(trained.class_ids, trained.class_names, strict=True))
    with inference(trained, device, views=views * len(paths)) as network:
        for path in paths:
            pixels = read_picture(path, trained.rescaling)
            probabilities = network.probabilities(cut_views(trained, pixels, views).to(device))[0]
            if not bool(torch.isfinite(probabilities).all()):
                raise FreelightError(
                    f"{path}: the network gives probabilities that are not finite (NaN): its weights are damaged, or "
                    "its training diverged; name another checkpoint"
                )
            folder = path.resolve().parent.name
            yield PicturePrediction(
                source=str(path),
                pixels=pixels,
                top_classes=top_classes(classes, probabilities),
                true_class=folder if folder in trained.class_ids else None,
            )


def read_picture(path: Path, rescaling: Rescaling) -> Pixels:
    """Return the pixels that a dataset made with `rescaling` holds for a picture file: uint8 (S, S, 3), RGB.

    The JPEG compression of the sample is included. Raises `FreelightError`, naming the file, if it cannot be decoded.
    """
    with open_regular(path, remedy="give picture files") as file:
        try:
            check_picture_bytes(os.fstat(file.fileno()).st_size)
            return decode_sample(rescale_file(file.read(), rescaling))
        except FreelightError as error:
            raise FreelightError(f"{path}: {error}") from None


def decode_sample(jpeg: bytes) -> Pixels:
    """Decode a sample's JPEG: uint8 (S, S, 3), RGB."""
    return np.asarray(Image.open(io.BytesIO(jpeg), formats=["JPEG"]))


def cut_views(trained: Checkpoint, pixels: Pixels, views: int) -> torch.Tensor:
    """Return the views of a rescaled picture as network input: float32 (1, 3, S, S), or (1, 10, 3, S, S)."""
    transform = trained.recipe.evaluation_transform(views)
    draws = draw_epoch(1, seed=0, epoch=0, order="sequential")  # required by `apply`; fixed views use none of them
    return torch.from_numpy(transform.apply(pixels, draws, 0, trained.statistics)).float()[None]


def top_classes(classes: Sequence[tuple[str, str]], probabilities: torch.Tensor) -> tuple[ClassProbability, ...]:
    """Return at most five of the classes, (id, name) each, the most probable first, by `probabilities` (classes,)."""
    top = probabilities.topk(min(TOP, len(probabilities)))
    return tuple(
        ClassProbability(class_id=classes[label][0], name=classes[label][1], probability=probability)
        for probability, label in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    )
