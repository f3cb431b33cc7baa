"""Checkpoints: one logical network, whatever number of columns wrote it, with all that its use needs."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from ..shards import Dataset, FreelightError, Statistics
from ..shards.base.atomic import atomic_write
from .network.network import Network
from .parallel.columns import Columns
from .recipe import Recipe

FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A network and the state of its training.

    recipe: with the network's options. weights, velocity: of the whole network, by parameter. class_ids, class_names:
    in label order. image_size: of the dataset, pixels. statistics: the training set's, for any later use. progress:
    step (steps done), and the states of the loader and the schedule.
    """

    recipe: Recipe
    seed: int
    weights: dict[str, torch.Tensor]
    velocity: dict[str, torch.Tensor]
    class_ids: list[str]
    class_names: list[str]
    image_size: int
    fingerprint: str
    statistics: Statistics
    progress: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write the checkpoint, atomically: a full disk or a kill leaves the previous one."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content["recipe"] = self.recipe.asdict()
        content["statistics"] = {
            name: torch.as_tensor(value) if isinstance(value, np.ndarray) else value
            for name, value in vars(self.statistics).items()
        }
        with atomic_write(path) as file:
            torch.save({"format": FORMAT, **content}, file)

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint that `save` wrote (tensors and plain values only: nothing in it is executed).

        Raises `FreelightError` when it is damaged, be it by one byte.
        """
        try:
            with ZipFile(path) as archive:  # torch writes checksums, but does not look at them
                if archive.testzip():
                    raise BadZipFile
            content: dict[str, Any] = torch.load(path, weights_only=True)
        except FileNotFoundError:
            raise FreelightError(f"there is no checkpoint {path}") from None
        except OSError:
            raise
        except Exception as error:  # torch.load has no common error for files that are not its own
            raise FreelightError(f"{path} is damaged, or no checkpoint; name another") from error
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise FreelightError(f"{path} is not a checkpoint of format {FORMAT}, which this version reads")
        content["recipe"] = Recipe.fromdict(content["recipe"])
        values: dict[str, Any] = {
            name: value.numpy() if isinstance(value, torch.Tensor) else value
            for name, value in content["statistics"].items()
        }
        content["statistics"] = Statistics(**values)
        return cls(**content)

    def network(self, columns: Columns = Columns()) -> Network:  # noqa: B008
        """Return the trained network, or these columns of it, on the CPU."""
        recipe = self.recipe
        network = Network(recipe.network, classes=len(self.class_ids), crop=recipe.crop_size, columns=columns)
        if recipe.precision == "float64":
            network.double()
        network.load_whole(self.weights)
        return network

    def label_map(self, dataset: Dataset) -> torch.Tensor:
        """Return, for each label of `dataset`, this network's label of the same class id: int64 (classes,).

        Raises `FreelightError` naming the first difference when the class ids are not the same set.
        """
        own = {class_id: label for label, class_id in enumerate(self.class_ids)}
        theirs = [info.id for info in dataset.manifest.classes]
        if set(own) != set(theirs):
            different = sorted(set(own) ^ set(theirs))[0]
            where = "the checkpoint" if different in own else f"the dataset {dataset.folder}"
            raise FreelightError(f"the classes differ: only {where} has {different!r}")
        return torch.tensor([own[class_id] for class_id in theirs])
