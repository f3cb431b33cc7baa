"""Recipes: complete, named sets of training settings, stored in every checkpoint."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..pipeline import CenterCrop, Lighting, LightingMode, Order, RandomCrop, TenCrop, Transform
from ..shards import FreelightError
from .network.architectures import NetworkConfig

Schedule = Literal["plateau", "steps", "exponential"]
MeanImage = Literal["image", "center window"]
Crops = Literal["random", "center"]
Precision = Literal["float32", "bfloat16", "float64"]
Epochs = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ByLayer:
    """A number for each of some layers: those whose names begin so, the longest beginning first."""

    numbers: tuple[tuple[str, float], ...] = ()

    def of(self, parameter: str, default: float) -> float:
        """Return the number of a parameter's layer."""
        fitting = [(len(start), number) for start, number in self.numbers if parameter.startswith(start)]
        return max(fitting)[1] if fitting else default

    def __str__(self) -> str:
        return ",".join(f"{start}:{number:g}" for start, number in self.numbers)

    @classmethod
    def parse(cls, text: str) -> "ByLayer":
        """Read `conv:0.1,fc8:2`; raises `ValueError`."""
        pairs = (part.partition(":") for part in text.split(",") if part)
        return cls(numbers=tuple((start, float(number)) for start, _, number in pairs))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The training settings. The defaults are the recipe `paper`, the paper's text (section 5).

    Epochs are counted from 0: what happens "at" epoch 25 happens once 25 epochs are done.

    network: see `NetworkConfig`. crop_size: of the crops, pixels. crops: in training, `random` or always the `center`;
    flip_probability: of each. mean: what is subtracted, see `Transform`. shared_crops: so many samples that follow one
    another as written share crop and flip. order: `global`, a fresh permutation each epoch, or `sequential`, as
    written. lighting, lighting_strength, lighting_divisor: see `Lighting`; lighting_off_epoch: from when there is none.

    batch_size: images a step, over all processes. epochs: at most. momentum. learning_rate, weight_decay: of weights;
    bias_*: of biases. layer_rates: factors of the learning rates of some layers, as `conv:0.1,fc8:2`; layer_decays:
    weight decays of some layers. schedule: `plateau` divides the rates by `plateau_factor` after `plateau_epochs`
    epochs without a new best centre-view top-1 error on val, and ends training at the plateau after `plateau_drops` of
    them; `steps` divides those of weights by 10 at each of `drop_epochs`, and those of biases at `bias_drop_epochs`;
    `exponential` divides those of weights by `exponential_factor` in all, over `exponential_steps` equal parts of the
    epochs. conv1_slow_epoch: from when conv1's rate is `conv1_slow_rate`; conv1_freeze_epoch: from when it is left as
    it is. precision: `float32`; `bfloat16`, autocast; `float64`, to check by.
    """

    name: str = "paper"
    network: NetworkConfig = field(default_factory=NetworkConfig)
    crop_size: int = 224
    crops: Crops = "random"
    flip_probability: float = 0.5
    mean: MeanImage = "image"
    shared_crops: int = 1
    order: Order = "global"
    lighting: LightingMode = "eigenvalue"
    lighting_strength: float = 0.1
    lighting_divisor: float = 1.0
    lighting_off_epoch: int | None = None
    batch_size: int = 128
    epochs: int = 90
    momentum: float = 0.9
    learning_rate: float = 0.01
    bias_learning_rate: float = 0.01
    weight_decay: float = 0.0005
    bias_weight_decay: float = 0.0005
    layer_rates: ByLayer = field(default_factory=ByLayer)
    layer_decays: ByLayer = field(default_factory=ByLayer)
    schedule: Schedule = "plateau"
    plateau_epochs: int = 5
    plateau_factor: float = 10.0
    plateau_drops: int = 3
    drop_epochs: Epochs = ()
    bias_drop_epochs: Epochs = ()
    exponential_factor: float = 250.0
    exponential_steps: int = 4
    conv1_slow_epoch: int | None = None
    conv1_slow_rate: float = 1e-5
    conv1_freeze_epoch: int | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for key in ("batch_size", "epochs", "plateau_epochs", "exponential_steps", "crop_size", "shared_crops"):
            if getattr(self, key) < 1:
                raise FreelightError(f"{key} (={getattr(self, key)}) must be at least 1")
        rates = ("learning_rate", "bias_learning_rate", "conv1_slow_rate", "momentum")
        decays = ("weight_decay", "bias_weight_decay")
        for key in (*rates, *decays, "lighting_strength", "plateau_drops"):
            if not 0 <= getattr(self, key) < math.inf:
                raise FreelightError(f"{key} (={getattr(self, key)}) must be 0 or more")
        for key in ("plateau_factor", "lighting_divisor", "exponential_factor"):
            if not 0 < getattr(self, key) < math.inf:
                raise FreelightError(f"{key} (={getattr(self, key)}) must be positive")
        if not 0 <= self.flip_probability <= 1:
            raise FreelightError(f"flip_probability (={self.flip_probability}) must lie in 0..1")
        for key in ("layer_rates", "layer_decays"):
            if not all(0 <= number < math.inf for _, number in getattr(self, key).numbers):
                raise FreelightError(f"{key} (={getattr(self, key)}) must be 0 or more")

    def training_transform(self, epoch: int) -> Transform:
        """Crop and flip, less the mean image, lit: of one epoch."""
        off = self.lighting_off_epoch is not None and epoch >= self.lighting_off_epoch
        return Transform(
            crop=RandomCrop(size=self.crop_size, shared_by=self.shared_crops, centered=self.crops == "center"),
            flip_probability=self.flip_probability,
            mean=self.mean,
            lighting=Lighting(
                mode="off" if off else self.lighting, strength=self.lighting_strength, divisor=self.lighting_divisor
            ),
        )

    def evaluation_transform(self, views: int) -> Transform:
        """The centre view (1) or the ten views (10), less the mean image."""
        crop = CenterCrop(size=self.crop_size) if views == 1 else TenCrop(size=self.crop_size)
        return Transform(crop=crop, mean=self.mean)

    def override(self, settings: Iterable[str]) -> "Recipe":
        """Return this recipe with `key=value` settings changed, checked by name and type: also those of the network."""
        changes: dict[type, dict[str, Any]] = {Recipe: {}, NetworkConfig: {}}
        for setting in settings:
            key, separator, text = setting.partition("=")
            owner = next((owner for owner in changes if key in settable(owner)), None)
            if not separator or owner is None:
                keys = [key for owner in changes for key in settable(owner)]
                raise FreelightError(f"--set {setting!r}: expected key=value with a key of: {', '.join(keys)}")
            try:
                changes[owner][key] = _read(text, settable(owner)[key])
            except ValueError as error:
                raise FreelightError(f"--set {setting!r}: {key} takes {error}") from None
        # One rate and one decay for all are the paper's; where those alone are given, they stay for all.
        for key in ("learning_rate", "weight_decay"):
            if key in changes[Recipe] and getattr(self, key) == getattr(self, f"bias_{key}"):
                changes[Recipe].setdefault(f"bias_{key}", changes[Recipe][key])
        network = dataclasses.replace(self.network, **changes[NetworkConfig])
        return dataclasses.replace(self, network=network, **changes[Recipe])

    def asdict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def fromdict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Return the recipe that `asdict` gave."""
        read = dict(values)
        read["network"] = NetworkConfig(**read["network"])
        for key in ("layer_rates", "layer_decays"):
            read[key] = ByLayer(**read[key])
        return cls(**read)


def settable(owner: type) -> dict[str, Any]:
    """Return the settings of a recipe, or of its network, that `--set` takes, with their types."""
    return {key: kind for key, kind in get_type_hints(owner).items() if key not in ("name", "network")}


def _read(text: str, kind: Any) -> Any:
    """Read a setting's value; raises `ValueError` with what it takes."""
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(f"one of {', '.join(get_args(kind))}")
        return text
    if kind is str:
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError("true or false")
        return text == "true"
    takes = {
        int: "a whole number",
        float: "a number",
        int | None: "a whole number, or none",
        Epochs: "whole numbers, separated by commas",
        ByLayer: "numbers by layer, as conv:0.1,fc8:2",
    }
    try:
        if kind is ByLayer:
            return ByLayer.parse(text)
        if kind == Epochs:
            return tuple(int(part) for part in text.split(",") if part)
        if kind == int | None:
            return None if text == "none" else int(text)
        return kind(text)
    except ValueError:
        raise ValueError(takes[kind]) from None


PAPER = Recipe()

SOURCE = Recipe(
    name="source",
    network=NetworkConfig(normalization="source", conv1_order="norm-pool-relu", upper_conv_std=0.03),
    mean="center window",
    shared_crops=32,
    order="sequential",
    lighting="std",
    lighting_divisor=1.1,
    lighting_off_epoch=67,
    epochs=91,
    bias_learning_rate=0.02,
    bias_weight_decay=0.0,
    schedule="steps",
    drop_epochs=(25, 51, 79),
    bias_drop_epochs=(25,),
    conv1_slow_epoch=67,
    conv1_freeze_epoch=72,
)

SOURCE_SCRIPTED = dataclasses.replace(
    SOURCE,
    name="source-scripted",
    epochs=90,
    schedule="exponential",
    bias_drop_epochs=(45,),
    conv1_slow_epoch=None,
    conv1_freeze_epoch=None,
)

CIFAR_19PCT = Recipe(
    name="cifar-19pct",
    network=NetworkConfig(architecture="cifar-19pct"),
    crop_size=24,
    mean="center window",
    order="sequential",
    lighting="off",
    epochs=520,
    learning_rate=0.001,
    bias_learning_rate=0.002,
    weight_decay=0.004,
    bias_weight_decay=0.0,
    layer_decays=ByLayer(numbers=(("fc10.weight", 1.0),)),
    schedule="steps",
    drop_epochs=(500, 510),
    bias_drop_epochs=(500, 510),
)

CIFAR_18PCT = dataclasses.replace(CIFAR_19PCT, name="cifar-18pct", network=NetworkConfig(architecture="cifar-18pct"))

CIFAR_13PCT = dataclasses.replace(
    CIFAR_19PCT,
    name="cifar-13pct",
    network=NetworkConfig(architecture="cifar-13pct"),
    layer_decays=ByLayer(numbers=(("conv", 0.0),)),
)

CIFAR_11PCT = dataclasses.replace(
    CIFAR_13PCT,
    name="cifar-11pct",
    network=NetworkConfig(architecture="cifar-11pct"),
    layer_decays=ByLayer(numbers=(("conv", 0.0), ("fc10.weight", 0.01))),
)

RECIPES = {
    recipe.name: recipe
    for recipe in (PAPER, SOURCE, SOURCE_SCRIPTED, CIFAR_19PCT, CIFAR_18PCT, CIFAR_13PCT, CIFAR_11PCT)
}
