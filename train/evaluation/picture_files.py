"""What a network says of ordinary picture files, which are rescaled as the training pictures were."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ...pipeline import draw_epoch
from ...shards import FreelightError, Rescaling, rescale_file
from ..checkpoint import Checkpoint
from ..evaluator import default_device, view_probabilities

BEST = 5


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A class and its probability, 0..1."""

    class_id: str
    name: str
    probability: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PicturePrediction:
    """The most probable classes of a picture, the first first.

    where: names it for people. pixels: uint8 (S, S, 3), as the network's views are cut from. truth: its class's id,
    where that is known.
    """

    where: str
    pixels: npt.NDArray[np.uint8]
    best: tuple[Guess, ...]
    truth: str | None = None

    def asdict(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        guesses = [{"id": one.class_id, "name": one.name, "probability": one.probability} for one in self.best]
        return {"image": self.where, "predictions": guesses}


def read_picture(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """Return a picture file as its sample in a dataset of this size would decode: uint8 (size, size, 3), RGB.

    Raises `FreelightError` naming the file if it is none that decodes.
    """
    try:
        data = path.read_bytes()
        return decode_jpeg(rescale_file(data, Rescaling(size=size)))
    except FreelightError as error:
        raise FreelightError(f"{path}: {error}") from None


def decode_jpeg(jpeg: bytes) -> npt.NDArray[np.uint8]:
    """Return a sample's pixels: uint8 (S, S, 3), RGB."""
    return np.asarray(Image.open(io.BytesIO(jpeg)))


def view_picture(trained: Checkpoint, pixels: npt.NDArray[np.uint8], views: int) -> torch.Tensor:
    """Return the views of a rescaled picture as the network takes them: float32 (1, 3, S, S), or (1, 10, 3, S, S)."""
    transform = trained.recipe.evaluation_transform(views)
    draws = draw_epoch(1, seed=0, epoch=0, order="sequential")  # of which fixed views need none
    return torch.from_numpy(transform.apply(pixels, draws, 0, trained.statistics)).float()[None]


def predict_pictures(
    trained: Checkpoint, pictures: Iterable[tuple[str, npt.NDArray[np.uint8], str | None]], *, views: int
) -> Iterator[PicturePrediction]:
    """Yield what the network says of rescaled pictures: (a name, uint8 (S, S, 3), the class id if it is known)."""
    device = default_device()
    network = trained.network().to(device)
    classes = list(zip(trained.class_ids, trained.class_names, strict=True))
    for where, pixels, truth in pictures:
        probabilities = view_probabilities(network, view_picture(trained, pixels, views).to(device))[0]
        yield PicturePrediction(where=where, pixels=pixels, best=best_guesses(classes, probabilities), truth=truth)


def best_guesses(classes: Sequence[tuple[str, str]], probabilities: torch.Tensor) -> tuple[Guess, ...]:
    """Return the most probable of the classes, (id, name) each, by their probabilities (classes,): five at most."""
    best = probabilities.topk(min(BEST, len(probabilities)))
    return tuple(
        Guess(class_id=classes[label][0], name=classes[label][1], probability=probability)
        for probability, label in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )


def predict_files(trained: Checkpoint, paths: Iterable[Path], *, views: int) -> Iterator[PicturePrediction]:
    """Yield what the network says of picture files; one in a folder named as a class id is taken to be of that class.

    Raises `FreelightError` at a file that is no picture.
    """
    known = set(trained.class_ids)
    pictures = (
        (str(path), read_picture(path, trained.image_size), folder if folder in known else None)
        for path in paths
        for folder in [path.resolve().parent.name]
    )
    return predict_pictures(trained, pictures, views=views)
