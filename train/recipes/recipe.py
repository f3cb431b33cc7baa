"""`Recipe`: every setting that decides the result of a training run; stored in each checkpoint."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...pipeline import (
    CenterCrop,
    Lighting,
    LightingMode,
    Order,
    RandomCrop,
    Schedule,
    ShardWindow,
    TenCrop,
    Transform,
    window_shards,
)
from ...shards import FreelightError
from ...shards.base import check_fields, setting
from ...shards.images import MAX_SIDE
from ..network.architectures import NetworkConfig
from .by_layer import ByLayer
from .header import Header
from .overrides import Epochs, nearest, read_value, settable

RateSchedule = Literal["plateau", "steps", "exponential"]
MeanImage = Literal["image", "center window"]
Crops = Literal["random", "center"]
Precision = Literal["float32", "tf32", "bfloat16", "float64"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings that decide the result of training. The defaults are the recipe `paper` (paper section 5).

    The meaning of each setting stands beside its default, and `train --show-recipe` prints it. Epochs are counted from
    0: "at epoch 25" means after 25 epochs.

    name: free to choose. header: text about the recipe; equality and resuming ignore it. network: see `NetworkConfig`.
    """

    name: str = "paper"
    header: Header = field(default_factory=Header, compare=False)
    network: NetworkConfig = field(default_factory=NetworkConfig)

    crop_size: int = setting(224, "side of the crops, pixels")
    crops: Crops = setting("random", "place of training crops")
    flip_probability: float = setting(0.5, "of a horizontal flip in training, 0..1")
    mean: MeanImage = setting(
        "image", "what is subtracted: the mean image, cropped and flipped as the image is, or always its centre window"
    )
    shared_crops: int = setting(1, "this many consecutive samples, in the order of the shards, share crop and flip")
    order: Order = setting(
        "global", "of samples: a new permutation each epoch, the order of the shards, or drawn from a window of shards"
    )
    window: ShardWindow = setting(0.1, "with windowed: shards in the window, as a fraction of all or a number of them")
    lighting: LightingMode = setting(
        "eigenvalue", "noise along the RGB eigenvectors: the paper's size, the 2012 code's, or none"
    )
    lighting_strength: float = setting(0.1, "standard deviation of the draws of the lighting noise")
    lighting_divisor: float = setting(1.0, "divides images with lighting noise, after the mean is subtracted")
    lighting_off_epoch: int | None = setting(None, "no lighting noise from this epoch on")

    batch_size: int = setting(128, "images per step, over all replicas")
    epochs: int = setting(90, "maximum number of epochs")
    momentum: float = setting(0.9, "share of the last update that the next one keeps")
    learning_rate: float = setting(0.01, "first learning rate of weights")
    bias_learning_rate: float = setting(0.01, "first learning rate of biases")
    weight_decay: float = setting(0.0005, "of weights, times their learning rate")
    bias_weight_decay: float = setting(0.0005, "of biases, times their learning rate")
    layer_rates: ByLayer = setting(ByLayer(), "factors of the learning rate, by layer")
    layer_decays: ByLayer = setting(ByLayer(), "weight decays that differ, by layer")

    schedule: RateSchedule = setting(
        "plateau", "of the learning rates: by the validation error, by drops at epochs, or in equal ratios"
    )
    plateau_epochs: int = setting(
        5, "with plateau: all rates drop after this many epochs without a new lowest centre-view top-1 error on val"
    )
    plateau_factor: float = setting(10.0, "with plateau: the divisor of each drop")
    plateau_drops: int = setting(3, "with plateau: training ends at the plateau after this many drops")
    drop_epochs: Epochs = setting((), "with steps: the rates of weights are divided by 10 at each of these epochs")
    bias_drop_epochs: Epochs = setting(
        (), "with steps and exponential: the rates of biases are divided by 10 at each of these epochs"
    )
    exponential_factor: float = setting(250.0, "with exponential: the rates of weights are divided by this in all")
    exponential_steps: int = setting(4, "with exponential: number of equal parts of the epochs, one rate in each")
    conv1_slow_epoch: int | None = setting(None, "from this epoch on, conv1 has the rate conv1_slow_rate")
    conv1_slow_rate: float = setting(1e-5, "conv1's learning rate from conv1_slow_epoch on")
    conv1_freeze_epoch: int | None = setting(None, "from this epoch on, conv1 is not updated")
    precision: Precision = setting(
        "float32", "of activations and gradients: tf32 on a GPU, bfloat16 by autocast, float64 for checks"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for key in ("batch_size", "epochs", "plateau_epochs", "exponential_steps", "crop_size", "shared_crops"):
            if getattr(self, key) < 1:
                raise FreelightError(f"`{key}` (={getattr(self, key)}) must be at least 1")
        window_shards(self.window, 1)
        if self.crop_size > MAX_SIDE:
            raise FreelightError(f"`crop_size` (={self.crop_size}) must be at most {MAX_SIDE}, the limit of a JPEG")
        rates = ("learning_rate", "bias_learning_rate", "conv1_slow_rate", "momentum")
        decays = ("weight_decay", "bias_weight_decay")
        for key in (*rates, *decays, "lighting_strength", "plateau_drops"):
            if not 0 <= getattr(self, key) < math.inf:
                raise FreelightError(f"`{key}` (={getattr(self, key)}) must be 0 or more")
        for key in ("plateau_factor", "lighting_divisor", "exponential_factor"):
            if not 0 < getattr(self, key) < math.inf:
                raise FreelightError(f"`{key}` (={getattr(self, key)}) must be positive")
        if not 0 <= self.flip_probability <= 1:
            raise FreelightError(f"`flip_probability` (={self.flip_probability}) must lie in 0..1")
        for key in ("layer_rates", "layer_decays"):
            if not all(0 <= number < math.inf for _, number in getattr(self, key).numbers):
                raise FreelightError(f"`{key}` (={getattr(self, key)}) must be 0 or more")

    def training_transforms(self) -> Schedule:
        """Return the transform of training images by epoch: crop, flip, subtraction of the mean, lighting."""
        lighting = Lighting(mode=self.lighting, strength=self.lighting_strength, divisor=self.lighting_divisor)
        transform = Transform(
            crop=RandomCrop(size=self.crop_size, shared_by=self.shared_crops, centered=self.crops == "center"),
            flip_probability=self.flip_probability,
            mean=self.mean,
            lighting=lighting,
        )
        if self.lighting_off_epoch is None:
            return Schedule({0: transform})
        dark = dataclasses.replace(transform, lighting=dataclasses.replace(lighting, mode="off"))
        return Schedule({0: transform, max(0, self.lighting_off_epoch): dark})

    def evaluation_transform(self, views: int) -> Transform:
        """Return the transform for evaluation: the centre view (`views` = 1) or the ten views (10), less the mean."""
        if views not in (1, 10):
            raise FreelightError(f"`views` (={views}) must be 1 or 10")
        crop = CenterCrop(size=self.crop_size) if views == 1 else TenCrop(size=self.crop_size)
        return Transform(crop=crop, mean=self.mean)

    def override(self, settings: Iterable[str]) -> "Recipe":
        """Return this recipe with `key=value` settings changed; keys are those of the recipe and of its network.

        A new `learning_rate` or `weight_decay` also holds for biases, if weights and biases had the same one. Raises
        `FreelightError` for an unknown key, or a value of another type.
        """
        changes: dict[type, dict[str, Any]] = {Recipe: {}, NetworkConfig: {}}
        for change in settings:
            key, separator, text = change.partition("=")
            owner = next((owner for owner in changes if key in settable(owner)), None)
            if not separator:
                raise FreelightError(f"`settings` {change!r}: expected key=value; `show_recipe` prints all keys")
            if owner is None:
                keys = [key for owner in changes for key in settable(owner)]
                raise FreelightError(f"`settings` {change!r}: there is no setting {key}; {nearest(key, keys)}")
            try:
                changes[owner][key] = read_value(text, settable(owner)[key])
            except ValueError as error:
                raise FreelightError(f"`settings` {change!r}: {key} takes {error}") from None
        for key in ("learning_rate", "weight_decay"):
            if key in changes[Recipe] and getattr(self, key) == getattr(self, f"bias_{key}"):
                changes[Recipe].setdefault(f"bias_{key}", changes[Recipe][key])
        network = dataclasses.replace(self.network, **changes[NetworkConfig])
        return dataclasses.replace(self, network=network, **changes[Recipe])

    def settings(self) -> dict[str, Any]:
        """Return every setting by key, those of the network among them; not `name` and `header`."""
        return {
            **{key: getattr(self, key) for key in settable(Recipe)},
            **{key: getattr(self.network, key) for key in settable(NetworkConfig)},
        }

    def differences(self, other: "Recipe") -> dict[str, Any]:
        """Return the settings whose values differ from those of `other`."""
        theirs = other.settings()
        return {key: value for key, value in self.settings().items() if value != theirs[key]}

    def asdict(self) -> dict[str, Any]:
        """Return the recipe as plain values, for checkpoints."""
        return dataclasses.asdict(self)

    @classmethod
    def fromdict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Return the recipe that `asdict` turned into plain values. Without a header (release 0.1) it gets none."""
        read = dict(values)
        read["network"] = NetworkConfig(**read["network"])
        for key in ("layer_rates", "layer_decays"):
            read[key] = ByLayer(**read[key])
        if "header" in read:
            read["header"] = Header.fromdict(read["header"])
        return cls(**read)
