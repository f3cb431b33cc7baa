"""Checkpoints: the whole network, for any number of processes, with everything needed to use it later."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..shards import Dataset, FreelightError, Rescaling, Statistics
from ..shards.base import check, record
from .checkpoint_content import FRAME, LATER, content_of
from .checkpoint_file import REMEDY, read_content, write_content
from .network.network import Network
from .parallel.columns import Columns
from .recipes import Recipe, load_recipe

FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A network and the state of its training.

    recipe: training settings, the network's options among them. weights, velocity: tensors of the whole network, by
    parameter name. class_ids, class_names: in label order. image_size: side of the training images, pixels. rescaling:
    how they were made from picture files (release 0.1 did not store it and reads as the default). fingerprint: of the
    dataset. statistics: of the training set. progress: `step` (steps done), and the states of the loader and the
    schedule. history: of each start of the run that differs from the one before, the `step` at which it began, its
    `epochs`, and the `command` as typed, empty if it was not a command (release 0.1 did not store it).
    """

    recipe: Recipe
    seed: int
    weights: dict[str, torch.Tensor]
    velocity: dict[str, torch.Tensor]
    class_ids: list[str]
    class_names: list[str]
    image_size: int
    rescaling: Rescaling
    fingerprint: str
    statistics: Statistics
    progress: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the checkpoint atomically: after a full disk or a kill, the previous file is still there."""
        content = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        content["recipe"] = self.recipe.asdict()
        content["rescaling"] = dataclasses.asdict(self.rescaling)
        content["statistics"] = {
            name: torch.as_tensor(value) if isinstance(value, np.ndarray) else value
            for name, value in vars(self.statistics).items()
        }
        write_content(path, {"format": FORMAT, **content})

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint that `save` wrote. It holds tensors and plain values; nothing in it is executed.

        Raises `FreelightError` if even one byte of its content is damaged, or if a value is not what `save` writes: a
        type, a shape that the recipe's network does not have, a number that is not finite.
        """
        content: Any = read_content(path)
        written = content.pop("format", None) if isinstance(content, dict) else None
        if not isinstance(written, int) or written != FORMAT:
            raise FreelightError(
                f"{path} is not a checkpoint of format {FORMAT}, the only one that this version reads; {REMEDY}"
            )
        check(content, record(FRAME, LATER), where=path, remedy=REMEDY)
        size, classes = content["image_size"], len(content["class_ids"])
        try:
            recipe = load_recipe(content["recipe"])
            rescaling = rescaling_of(content.get("rescaling", {}), size)
            expected = content_of(recipe, classes=classes, image_size=size)
        except FreelightError as error:  # its names in backticks are no options of the command that reads the file
            raise FreelightError(f"{path}: {str(error).replace('`', '')}; {REMEDY}") from None
        check(content, expected, where=path, remedy=REMEDY)
        values: dict[str, Any] = {
            name: value.numpy() if isinstance(value, torch.Tensor) else value
            for name, value in content["statistics"].items()
        }
        statistics = Statistics(**values)
        statistics.check(where=f"{path}: statistics", remedy=REMEDY)
        return cls(**{**content, "recipe": recipe, "rescaling": rescaling, "statistics": statistics})

    def network(self, columns: Columns = Columns(), *, compile_: bool = False) -> Network:  # noqa: B008
        """Return the trained network, or this process's columns of it, on the CPU and in `eval` mode.

        compile_: as of `Network`.
        """
        recipe, classes = self.recipe, len(self.class_ids)
        network = Network(recipe.network, classes=classes, crop=recipe.crop_size, columns=columns, compile_=compile_)
        if recipe.precision == "float64":
            network.double()
        network.load_whole(self.weights)
        return network.eval()

    def label_map(self, dataset: Dataset) -> torch.Tensor:
        """Return this network's label for each label of `dataset`, matched by class id: int64 (classes,).

        Raises `FreelightError` with the first class id that only one of the two has.
        """
        own = {class_id: label for label, class_id in enumerate(self.class_ids)}
        theirs = [info.id for info in dataset.manifest.classes]
        if set(own) != set(theirs):
            different = sorted(set(own) ^ set(theirs))[0]
            where = "the checkpoint" if different in own else f"the dataset {dataset.place}"
            raise FreelightError(
                f"the classes differ: only {where} has {different!r}; name another checkpoint or dataset"
            )
        return torch.tensor([own[class_id] for class_id in theirs])


def load_network(path: str | os.PathLike[str]) -> Network:
    """Return the trained network of a checkpoint, whole, on the CPU and in `eval` mode, for use or for fine-tuning.

    It takes RGB crops (N, 3, crop, crop) in 0-255 units, less the mean of `Checkpoint.load(path).statistics`, and
    returns logits (N, classes) in the order of `class_ids`.
    """
    return Checkpoint.load(Path(path)).network()


def rescaling_of(made_with: Mapping[str, Any], size: int) -> Rescaling:
    """Return how images were made, from a manifest's `made_with` or a checkpoint; default values where it says nothing.

    size: side of the images, pixels; the trainer has squares, whatever their geometry was. Keys that are no setting of
    `Rescaling` are ignored.
    """
    names = {one.name for one in dataclasses.fields(Rescaling)} - {"geometry", "enlarge"}
    return Rescaling(**{**{name: made_with[name] for name in names if name in made_with}, "size": size})
