"""`Recipe`: every setting that decides the result of a training run; stored in each checkpoint."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...pipeline import CenterCrop, Lighting, LightingMode, Order, RandomCrop, Schedule, TenCrop, Transform
from ...shards import FreelightError
from ...shards.base import check_fields
from ...shards.images import MAX_SIDE
from ..network.architectures import NetworkConfig
from .by_layer import ByLayer
from .header import Header
from .overrides import Epochs, read_value, settable

RateSchedule = Literal["plateau", "steps", "exponential"]
MeanImage = Literal["image", "center window"]
Crops = Literal["random", "center"]
Precision = Literal["float32", "bfloat16", "float64"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings that decide the result of training. The defaults are the recipe `paper` (paper section 5).

    Epochs are counted from 0: "at epoch 25" means after 25 epochs.

    name: free to choose. header: text about the recipe; equality and resuming ignore it. network: see `NetworkConfig`.

    Augmentation. crop_size: side of the crops, pixels. crops: in training, `random` or always `center`.
    flip_probability: of a horizontal flip. mean: what is subtracted, see `Transform`. shared_crops: this many
    consecutive samples, in the order of the shards, share crop and flip. order: `global`, a new permutation each epoch,
    or `sequential`, the order of the shards. lighting, lighting_strength, lighting_divisor: see `Lighting`.
    lighting_off_epoch: no lighting noise from this epoch on.

    Update rule. batch_size: images per step, over all replicas. epochs: maximum number. momentum.
    learning_rate, weight_decay: of weights. bias_learning_rate, bias_weight_decay: of biases. layer_rates: factors of
    the learning rate by layer (`conv:0.1,fc8:2`). layer_decays: weight decays by layer. precision: `float32`;
    `bfloat16`, by autocast; or `float64`, for checks.

    Learning rates. schedule: `plateau` divides all rates by `plateau_factor` after `plateau_epochs` epochs without a
    new lowest centre-view top-1 error on val; training ends at the plateau after `plateau_drops` such drops. `steps`
    divides the rates of weights by 10 at each of `drop_epochs`, and those of biases at each of `bias_drop_epochs`.
    `exponential` divides the rates of weights by `exponential_factor` in all, in equal ratios over `exponential_steps`
    equal parts of the epochs. conv1_slow_epoch: from this epoch on, conv1's rate is `conv1_slow_rate`.
    conv1_freeze_epoch: from this epoch on, conv1 is not updated.
    """

    name: str = "paper"
    header: Header = field(default_factory=Header, compare=False)
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
    schedule: RateSchedule = "plateau"
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
        check_fields(self)
        for key in ("batch_size", "epochs", "plateau_epochs", "exponential_steps", "crop_size", "shared_crops"):
            if getattr(self, key) < 1:
                raise FreelightError(f"`{key}` (={getattr(self, key)}) must be at least 1")
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
        for setting in settings:
            key, separator, text = setting.partition("=")
            owner = next((owner for owner in changes if key in settable(owner)), None)
            if not separator or owner is None:
                keys = [key for owner in changes for key in settable(owner)]
                raise FreelightError(f"`settings` {setting!r}: expected key=value with a key of: {', '.join(keys)}")
            try:
                changes[owner][key] = read_value(text, settable(owner)[key])
            except ValueError as error:
                raise FreelightError(f"`settings` {setting!r}: {key} takes {error}") from None
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
