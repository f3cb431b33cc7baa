"""The settings that, with the source, decide every byte of a dataset."""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import PIL
from PIL import features

from ... import __version__
from ..base import FreelightError
from ..dataset import SCHEMA
from ..images import MAX_PIXELS, ORIGINAL, SQUARE, Rescaling, finds_damage, jpeg_decoder
from ..sources import Source

NOT_IN_0_1 = {
    "max_pixels": MAX_PIXELS,
    "reject_suspect": False,
    "geometry": SQUARE,
    "enlarge": False,
    "metadata": False,
}
"""Settings that version 0.1 did not record, and the values with which its datasets are continued."""


VERSIONS = ("freelight", "pillow", "jpeg_decoder", "libjpeg")
"""What a dataset says of the libraries that made it. Other ones may give other bytes."""
SAME_BYTES = ("0.1.0",)
"""Earlier versions of Freelight that give the same bytes as this one, from the same source, settings and libraries.

This version finishes what they began; `tests/test_release_01.py` shows it. The dataset keeps the version that began it.
"""


def same_version(version: object) -> str:
    """Return a version of Freelight if it gives the same bytes as this one; else this one, which then differs."""
    return str(version) if version in SAME_BYTES else __version__


def as_in_0_1(made_with: dict[str, Any]) -> dict[str, Any]:
    """Return settings as version 0.1 recorded them: without those of `NOT_IN_0_1` that have their values."""
    return {name: value for name, value in made_with.items() if NOT_IN_0_1.get(name, ...) != value}


@dataclass(frozen=True, kw_only=True)
class ShardSettings:
    """The settings that, with the source, decide every byte of a dataset.

    samples_per_shard: None means a 32nd of the largest split, within 100..2000: a small dataset still keeps all workers
    busy, and ImageNet's 641 shards can all be open at once (the usual limit is 1,024 files). seed: of the shuffle.
    limit: maximum number of images per split, taken after the shuffle. reject_suspect: leave out JPEGs whose data are
    damaged though they decode, which only simplejpeg notices. metadata: whether each sample gets a `.json`. schema: of
    the dataset directory; `make_shards` finishes what an earlier version began in its schema. freelight: the version
    that began the dataset.
    """

    rescaling: Rescaling = field(default_factory=Rescaling)
    samples_per_shard: int | None = None
    seed: int = 0
    limit: int | None = None
    reject_suspect: bool = False
    metadata: bool = False
    schema: int = SCHEMA
    freelight: str = __version__

    def __post_init__(self) -> None:
        for name, value, least in (
            ("samples_per_shard", self.samples_per_shard, 1),
            ("limit", self.limit, 1),
            ("seed", self.seed, 0),
        ):
            if value is not None and value < least:
                raise FreelightError(f"`{name}` (={value}) must be at least {least}")
        if self.reject_suspect and not finds_damage():
            raise FreelightError("`reject_suspect` needs simplejpeg; install it with: pip install 'freelight[fast]'")

    def resolve(self, source: Source) -> "ShardSettings":
        """Return these settings with the number of samples per shard filled in."""
        largest = max(min(len(images), self.limit or len(images)) for images in source.splits.values())
        return replace(self, samples_per_shard=self.samples_per_shard or min(2000, max(100, math.ceil(largest / 32))))

    def made_with(self) -> dict[str, Any]:
        """Return the settings for the manifest, and the versions of the libraries that decide the pixels."""
        rescaling = asdict(self.rescaling)
        if self.rescaling.geometry == ORIGINAL:
            del rescaling["size"], rescaling["resampling"]  # without effect
        made_with = {
            **rescaling,
            "seed": self.seed,
            "limit": self.limit,
            "samples_per_shard": self.samples_per_shard,
            "reject_suspect": self.reject_suspect,
            "metadata": self.metadata,
            "freelight": self.freelight,
            "pillow": PIL.__version__,
            "jpeg_decoder": jpeg_decoder(),
            "libjpeg": features.version("libjpeg_turbo") or features.version("jpg"),
        }
        return as_in_0_1(made_with) if self.schema == 1 else made_with
