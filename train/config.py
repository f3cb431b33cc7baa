"""`TrainingConfig`: one training run, with all options of `train` and `fit`."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..pipeline import Decoding, Subset
from ..shards import FreelightError
from ..shards.base import FETCH_TIMEOUT, CountOrAuto, check_fields
from .progress import Lines
from .recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run.

    Data. shards: dataset directory, or its URL; with a URL, `cache` is a local folder for at most `cache_bytes` of
    shards; `fetch_timeout` and `storage_options` are as of `Dataset`. statistics: file that `compute_pca` wrote; None
    takes the dataset's own. decoded: folder that keeps decoded pixels, of the training split and then of the validation
    split, `decoded_bytes` in all. subset, weights (by class), balanced: of the training split, as of `Loader`; the
    classes stay as they are.

    Result. out: folder of the run; one that holds a stopped run is resumed, and `recipe.epochs` may be raised. recipe:
    the settings that decide the result. init_from: checkpoint to copy a new run's layers from, where shapes fit. seed:
    of initial weights, sample order, augmentation and dropout, 0..2**32 - 1.

    Saving. checkpoint_every (steps), checkpoint_minutes: also save inside an epoch; None saves at its end only. keep:
    number of recent checkpoints to keep. log_every: steps between two lines of metrics. tensorboard: also write events.
    lines: where the lines about the run go. command: as typed, for checkpoints and reports.

    Computing. num_threads: CPU threads that decode JPEGs, per process; `auto` as of `Loader`. decoding: of JPEGs.
    compile_: compile the response normalisation, where there is a compiler. channels_last: store images and activations
    channels-last; None: on the CPU only.
    """

    shards: str
    out: Path
    recipe: Recipe
    cache: Path | None = None
    cache_bytes: int = 10**11
    fetch_timeout: float = FETCH_TIMEOUT
    storage_options: dict[str, Any] | None = None
    statistics: Path | None = None
    decoded: Path | None = None
    decoded_bytes: int | None = None
    subset: Subset | None = None
    weights: dict[str, float] | None = None
    balanced: bool = False
    init_from: Path | None = None
    seed: int = 0
    checkpoint_every: int | None = None
    checkpoint_minutes: float | None = None
    keep: int = 2
    log_every: int = 10
    num_threads: CountOrAuto = "auto"
    decoding: Decoding = field(default_factory=Decoding)
    compile_: bool = True
    channels_last: bool | None = None
    tensorboard: bool = False
    lines: Lines = "stdout"
    command: str = ""

    def __post_init__(self) -> None:
        for name in ("out", "cache", "statistics", "decoded", "init_from"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, Path(getattr(self, name)))
        check_fields(self, *(spec.name for spec in fields(self) if spec.name != "shards"))  # it may be a path
        for name in ("checkpoint_every", "log_every", "keep"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise FreelightError(f"`{name}` (={value}) must be at least 1")
        if self.checkpoint_minutes is not None and not self.checkpoint_minutes > 0:
            raise FreelightError(f"`checkpoint_minutes` (={self.checkpoint_minutes}) must be positive")
        if not 0 <= self.seed < 2**32:
            raise FreelightError(f"`seed` (={self.seed}) must lie in 0..2**32 - 1")
