"""What a store of decoded pixels belongs to. Pixels of another dataset or decoder are refused."""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import nvidia.dali

from ...shards import FreelightError, Split
from ...shards.base import atomic_write, integer, read_json, record, sha256_text, text
from ...shards.dataset import samples_name

SCHEMA = 1
_HEADER = record(
    {"schema": integer(), "dataset": sha256_text, "samples": sha256_text, "decoder": text(empty=False)},
)
REMEDY = "give another folder, or delete it, to decode again"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """dataset: its fingerprint. samples: sha256 of the split's samples table. decoder: what made the pixels."""

    dataset: str
    samples: str
    decoder: str

    def save(self, path: Path) -> None:
        """Write the header of a store, atomically."""
        with atomic_write(path) as file:
            file.write(json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1).encode() + b"\n")


def identity_of(split: Split, fingerprint: str) -> Identity:
    """Return what pixels of a split that are decoded here belong to. fingerprint: of the dataset."""
    return Identity(dataset=fingerprint, samples=split.info.files[samples_name(split.name)], decoder=decoder_here())


def decoder_here() -> str:
    """Name the decoder and the settings that its pixels depend on: always DALI's on the CPU."""
    parts = [f"DALI {nvidia.dali.__version__}"]
    for cuda in ("cu13", "cu12"):
        try:
            parts.append(f"nvImageCodec {version(f'nvidia-nvimgcodec-{cuda}')}")
            break
        except PackageNotFoundError:
            continue
    return ", ".join([*parts, "RGB on the CPU, fancy upsampling"])


def check_identity(path: Path, wanted: Identity) -> bool:
    """Return whether a store has a header. Raises `FreelightError` if it is of another dataset or decoder."""
    try:
        content = read_json(path, _HEADER, remedy=REMEDY)
    except FileNotFoundError:
        return False
    if content.pop("schema") != SCHEMA:
        raise FreelightError(f"{path} was written by another version; {REMEDY}")
    found = Identity(**content)
    if (found.dataset, found.samples) != (wanted.dataset, wanted.samples):
        raise FreelightError(f"{path}: the pixels are those of another dataset; {REMEDY}")
    if found.decoder != wanted.decoder:
        raise FreelightError(f"{path}: the pixels were decoded by {found.decoder}; here is {wanted.decoder}; {REMEDY}")
    return True
