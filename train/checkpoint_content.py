"""What the content of a checkpoint must be: types, ranges, the shapes of the recipe's network, finite numbers."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch

from ..shards import FreelightError
from ..shards.base import (
    Check,
    Mismatch,
    anything,
    integer,
    list_of,
    mapping,
    must_be,
    number,
    record,
    sha256_text,
    text,
)
from ..shards.images import MAX_SIDE
from .network.architectures import NetworkConfig
from .network.network import Network
from .recipes import ByLayer, Header, PublishedError, Recipe


def class_ids(value: object, field: str) -> None:
    """Accept a list of different strings."""
    list_of(text(empty=False))(value, field)
    if len(set(value)) < len(value):  # type: ignore[call-overload, arg-type]
        raise Mismatch(f"{field} has a class id twice")


def class_names(count: int) -> Check:
    """Accept a list of `count` strings."""

    def check_names(value: Any, field: str) -> None:
        list_of(text())(value, field)
        if len(value) != count:
            raise Mismatch(f"{field} has {len(value)} names for {count} classes")

    return check_names


def best_error(value: object, field: str) -> None:
    """Accept the lowest error of a schedule, 0..1; infinity before the first."""
    if not isinstance(value, float) or value != math.inf:
        number(least=0, most=1)(value, field)


def fields_of(kind: Any, optional: Mapping[str, Check] | None = None, **parts: Check) -> Check:
    """Return the check for what `dataclasses.asdict` makes of a dataclass: its keys, and the values of `parts`.

    The dataclass checks the other values itself. optional: fields that may be missing.
    """
    names = [field.name for field in dataclasses.fields(kind) if field.name not in (optional or {})]
    return record({**dict.fromkeys(names, anything), **parts}, optional)


def published_errors(value: object, field: str) -> None:
    """Accept the published errors of a recipe's header."""
    if not isinstance(value, tuple):
        raise must_be(value, field, "a tuple")
    list_of(fields_of(PublishedError))(list(value), field)


RECIPE = fields_of(
    Recipe,
    {"header": fields_of(Header, published=published_errors), "window": anything},  # release 0.1 did not store them
    network=fields_of(NetworkConfig),
    layer_rates=fields_of(ByLayer),
    layer_decays=fields_of(ByLayer),
)

FRAME: dict[str, Check] = {
    "recipe": RECIPE,
    "seed": integer(most=2**32 - 1),
    "weights": anything,
    "velocity": anything,
    "class_ids": class_ids,
    "class_names": anything,
    "image_size": integer(least=1, most=MAX_SIDE),
    "fingerprint": sha256_text,
    "statistics": anything,
    "progress": anything,
}
"""What can be checked before the recipe is read."""
LATER: dict[str, Check] = {
    "rescaling": mapping(anything),
    "history": list_of(record({"step": integer(), "epochs": integer(least=1), "command": text()})),
}
"""What release 0.1 did not store."""


def content_of(recipe: Recipe, *, classes: int, image_size: int) -> Check:
    """Return the check of the entries that depend on the recipe and on the number of classes.

    Raises `FreelightError` if there is no such network.
    """
    if recipe.crop_size > image_size:
        raise FreelightError(f"`crop_size` (={recipe.crop_size}) must be at most image_size (={image_size})")
    with torch.device("meta"):  # takes no memory, however wide the network
        network = Network(recipe.network, classes=classes, crop=recipe.crop_size)
    dtype = torch.float64 if recipe.precision == "float64" else torch.float32
    parameters = record({name: tensor(dtype, tuple(one.shape)) for name, one in network.named_parameters()})
    return record(
        {
            **FRAME,
            "weights": parameters,
            "velocity": parameters,
            "class_names": class_names(classes),
            "statistics": statistics_of(image_size),
            "progress": record(
                {
                    "step": integer(),
                    "loader": record(
                        {
                            **dict.fromkeys(("fingerprint", "split", "order", "transform"), text()),
                            "seed": integer(),
                            "epoch": integer(most=recipe.epochs),
                            "position": integer(),
                        },
                        {"window": integer(least=1), "sampling": text()},
                    ),
                    "schedule": record(
                        {
                            "best": best_error,
                            "epochs_since_best": integer(),
                            "drops": integer(most=recipe.plateau_drops + 1),
                        }
                    ),
                }
            ),
        },
        LATER,
    )


def statistics_of(image_size: int) -> Check:
    """Return the check of types and shapes for images of this side, pixels; `Statistics.check` checks the values."""
    double = torch.float64
    return record(
        {
            "mean_image": tensor(torch.float32, (image_size, image_size, 3)),
            "mean": tensor(double, (3,)),
            "covariance": tensor(double, (3, 3)),
            "eigenvalues": tensor(double, (3,)),
            "eigenvectors": tensor(double, (3, 3)),
            "pixels": integer(),
            "images": integer(),
            "fingerprint": text(),
            "split": text(),
        }
    )


def tensor(dtype: torch.dtype, shape: tuple[int, ...]) -> Check:
    """Accept a tensor of this dtype and shape whose values are finite."""
    wanted = f"a tensor of {dtype} with the shape {shape}"

    def check_tensor(value: Any, field: str) -> None:
        if not isinstance(value, torch.Tensor):
            raise must_be(value, field, wanted)
        if (value.dtype, tuple(value.shape), value.layout) != (dtype, shape, torch.strided):
            raise Mismatch(f"{field} is a tensor of {value.dtype} with the shape {tuple(value.shape)}, not {wanted}")
        if value.untyped_storage().nbytes() < value.nbytes:  # a stride of 0 makes a tensor of any size from one number
            raise Mismatch(f"{field} has fewer bytes than its shape {shape} needs")
        if not all(map(math.isfinite, torch.aminmax(value))):
            raise Mismatch(f"{field} has values that are not finite (NaN or infinity)")

    return check_tensor
