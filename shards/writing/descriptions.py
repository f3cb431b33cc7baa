"""Describe a dataset to other software: `_info.json` for timm, and `README.md`, a dataset card for Hugging Face.

`_info.json` also holds all that the manifest says, so that a lost `dataset.json` can be written again.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..base import MAX_JSON, FreelightError, anything, check, list_of, mapping, parse_json, read_limited, record
from ..dataset import Manifest, with_own_hash
from ..sources import ClassInfo

INFO, CARD = "_info.json", "README.md"
# timm's words for a list over the shards of a split -> the field of a shard in the manifest. The last two are ours.
_SHARD = {"filenames": "name", "shard_lengths": "samples", "shard_bytes": "bytes", "shard_sha256": "sha256"}
_INFO = record(
    {
        "splits": mapping(
            record(
                {"name": anything, "num_samples": anything, **dict.fromkeys(_SHARD, list_of(anything))}, others=anything
            )
        ),
        "files": mapping(anything),
    },
    others=anything,
)
# The fields of a sample's `.json`, which `shard.py` writes, and their types in a card.
_METADATA = {
    "class_id": "string",
    "class_name": "string",
    "source": "string",
    "original_height": "int64",
    "original_width": "int64",
}


def describe_dataset(manifest: Manifest) -> dict[str, bytes]:
    """Return the contents of the files that describe a dataset to other software, by file name.

    The card names the shards of each split, which `datasets.load_dataset(DIR)` would otherwise guess from all files;
    and the classes, so that `cls` is a `ClassLabel`, unless other people made the tars. `_info.json` has each split's
    shards and numbers of samples, as timm's `wds/` reads them; beside them all that the manifest says, but for the hash
    of `_info.json`; and its own hash.
    """
    card = _card(manifest)
    files = {name: sha256 for name, sha256 in manifest.files.items() if name not in (CARD, INFO)}
    files[CARD] = hashlib.sha256(card).hexdigest()
    return {CARD: card, INFO: _info(replace(manifest, files=files))}


def _info(manifest: Manifest) -> bytes:
    content = manifest.to_content()
    for name, split in content["splits"].items():
        shards = split.pop("shards")
        of_timm = {
            "name": name,
            "num_samples": split.pop("samples"),
            **{words: [shard[field] for shard in shards] for words, field in _SHARD.items()},
        }
        content["splits"][name] = of_timm | split
    return with_own_hash(content)


def earlier_info(manifest: Manifest) -> bytes:
    """Return `_info.json` as an earlier version wrote it, with classes and settings alone."""
    splits = {
        name: {
            "name": name,
            "num_samples": split.samples,
            "filenames": [shard.name for shard in split.shards],
            "shard_lengths": [shard.samples for shard in split.shards],
        }
        for name, split in manifest.splits.items()
    }
    content = manifest.to_content()
    content = {"splits": splits, "classes": content["classes"], "made_with": content["made_with"]}
    return (json.dumps(content, indent=1) + "\n").encode()


def manifest_from_info(path: Path) -> Manifest:
    """Return the manifest of the dataset that `_info.json`, the file `path`, belongs to.

    Raises `FreelightError` if the file is damaged, or if an earlier version wrote it, with classes and settings alone.
    """
    remedy = "copy it back"
    try:
        data = read_limited(path, limit=MAX_JSON, remedy=remedy)
    except FileNotFoundError:
        raise FreelightError(f"{path} is missing") from None
    content = parse_json(data, mapping(anything), where=path, remedy=remedy)
    if content.keys() == {"splits", "classes", "made_with"}:
        raise FreelightError(
            f"{path} is of an earlier version: it lacks the labels' order, the source, and the files' hashes"
        )
    content.pop("sha256", None)
    if with_own_hash(content) != data:
        raise FreelightError(f"{path} is damaged (its own sha256 differs)")
    check(content, _INFO, where=path, remedy=remedy)
    for name, split in content["splits"].items():
        lists = [split.pop(words) for words in _SHARD]
        if len({len(values) for values in lists}) > 1:
            raise FreelightError(f"{path}: splits.{name} has lists of different lengths; {remedy}")
        shards = [dict(zip(_SHARD.values(), shard, strict=True)) for shard in zip(*lists, strict=True)]
        del split["name"]
        content["splits"][name] = {"samples": split.pop("num_samples"), **split, "shards": shards}
    content["files"][INFO] = hashlib.sha256(data).hexdigest()
    return Manifest.from_content(content, path)


def _card(manifest: Manifest) -> bytes:
    # YAML by hand: a library for it is no dependency, and strings are always quoted.
    files, counts, table = [], [], []
    for name, split in manifest.splits.items():
        size, published = sum(shard.bytes for shard in split.shards), _quoted(_split_name(name))
        files += [f"  - split: {published}", f'    path: "{name}-??????.tar"']
        counts += [f"  - name: {published}", f"    num_bytes: {size}", f"    num_examples: {split.samples}"]
        table += [f"| {name} | {split.samples} | {len(split.shards)} | {size / 1e6:.1f} |"]
    head = ["configs:", "- config_name: default", "  data_files:", *files]
    if any(split.indexed for split in manifest.splits.values()):
        contents = "what other people put into the tars"
        origin = "WebDataset shards of other people, indexed by Freelight's `index_shards`."
    else:
        head += _features(manifest, counts)
        contents = "`<key>.jpg` and `<key>.cls`, its label"
        if manifest.made_with.get("metadata"):
            contents += ", and `<key>.json`, its class, and the path and size of its source"
        origin = "WebDataset shards, written by Freelight's `make_shards` with the settings in `dataset.json`."
    lines = [
        *("---", *head, "---", ""),
        *(f"Pictures of {len(manifest.classes)} classes. A sample is {contents}.", ""),
        *("| split | samples | shards | megabytes |", "|---|---|---|---|", *table, ""),
        origin,
    ]
    return ("\n".join(lines) + "\n").encode()


def _features(manifest: Manifest, counts: list[str]) -> list[str]:
    """Return the lines of a card that say the types of a sample's members, and the classes. counts: of the splits."""
    total = sum(shard.bytes for split in manifest.splits.values() for shard in split.shards)
    features = [("jpg", "dtype: image"), ("__key__", "dtype: string"), ("__url__", "dtype: string")]
    if manifest.made_with.get("metadata"):
        fields = "".join(f"\n    - name: {name}\n      dtype: {dtype}" for name, dtype in _METADATA.items())
        features.insert(1, ("json", f"struct:{fields}"))
    return [
        *("dataset_info:", "  features:", "  - name: cls", "    dtype:", "      class_label:", "        names:"),
        *(f"          '{label}': {_quoted(name)}" for label, name in enumerate(_unique_names(manifest.classes))),
        *(line for name, dtype in features for line in (f"  - name: {name}", f"    {dtype}")),
        *("  splits:", *counts, f"  download_size: {total}", f"  dataset_size: {total}"),
    ]


def _split_name(name: str) -> str:
    """Return a split's name as `datasets` allows it: letters, digits and `_`."""
    return re.sub(r"\W", "_", name)


def _unique_names(classes: Sequence[ClassInfo]) -> list[str]:
    """Return a name for each class; two of the same name, such as ImageNet's cranes, have their ids added.

    `ClassLabel` refuses names that repeat.
    """
    given = [info.name or info.id for info in classes]
    counts = Counter(given)
    names = [name if counts[name] == 1 else f"{name} ({info.id})" for name, info in zip(given, classes, strict=True)]
    return names if len(set(names)) == len(names) else [info.id for info in classes]


def _quoted(text: str) -> str:
    """Return text as a double-quoted scalar of YAML."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text) + '"'
