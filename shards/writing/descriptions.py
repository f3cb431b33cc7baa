"""Describe a dataset to other software: `_info.json` for timm, and `README.md`, a dataset card for Hugging Face."""

import json
import re
from collections import Counter
from collections.abc import Sequence

from ..dataset import Manifest
from ..sources import ClassInfo

INFO, CARD = "_info.json", "README.md"
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

    `_info.json` has each split's shards and numbers of samples, as timm's `wds/` reads them, and the classes. The card
    names the shards of each split, which `datasets.load_dataset(DIR)` would otherwise guess from all files, and the
    classes, so that `cls` is a `ClassLabel`.
    """
    return {INFO: _info(manifest), CARD: _card(manifest)}


def _info(manifest: Manifest) -> bytes:
    splits = {
        name: {
            "name": name,
            "num_samples": split.samples,
            "filenames": [shard.name for shard in split.shards],
            "shard_lengths": [shard.samples for shard in split.shards],
        }
        for name, split in manifest.splits.items()
    }
    classes = [{"id": info.id, "name": info.name} for info in manifest.classes]
    content = {"splits": splits, "classes": classes, "made_with": manifest.made_with}
    return (json.dumps(content, indent=1) + "\n").encode()


def _card(manifest: Manifest) -> bytes:
    # YAML by hand: a library for it is no dependency, and strings are always quoted.
    files, counts, table = [], [], []
    for name, split in manifest.splits.items():
        size, published = sum(shard.bytes for shard in split.shards), _quoted(_split_name(name))
        files += [f"  - split: {published}", f'    path: "{name}-??????.tar"']
        counts += [f"  - name: {published}", f"    num_bytes: {size}", f"    num_examples: {split.samples}"]
        table += [f"| {name} | {split.samples} | {len(split.shards)} | {size / 1e6:.1f} |"]
    total = sum(shard.bytes for split in manifest.splits.values() for shard in split.shards)
    features = [("jpg", "dtype: image"), ("__key__", "dtype: string"), ("__url__", "dtype: string")]
    contents = "`<key>.jpg` and `<key>.cls`, its label"
    if manifest.made_with.get("metadata"):
        fields = "".join(f"\n    - name: {name}\n      dtype: {dtype}" for name, dtype in _METADATA.items())
        features.insert(1, ("json", f"struct:{fields}"))
        contents += ", and `<key>.json`, its class, and the path and size of its source"
    lines = [
        "---",
        *("configs:", "- config_name: default", "  data_files:", *files),
        *("dataset_info:", "  features:", "  - name: cls", "    dtype:", "      class_label:", "        names:"),
        *(f"          '{label}': {_quoted(name)}" for label, name in enumerate(_unique_names(manifest.classes))),
        *(line for name, dtype in features for line in (f"  - name: {name}", f"    {dtype}")),
        *("  splits:", *counts, f"  download_size: {total}", f"  dataset_size: {total}"),
        "---",
        "",
        f"Pictures of {len(manifest.classes)} classes. A sample is {contents}.",
        "",
        *("| split | samples | shards | megabytes |", "|---|---|---|---|", *table),
        "",
        "WebDataset shards, written by Freelight's `make_shards` with the settings in `dataset.json`.",
    ]
    return ("\n".join(lines) + "\n").encode()


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
