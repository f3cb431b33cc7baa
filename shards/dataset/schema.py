"""What a manifest must contain. A manifest may be damaged, or come from a stranger, and its names become paths."""

import math
import re
from collections.abc import Iterable
from typing import Any

from ..base import (
    anything,
    flag,
    integer,
    list_of,
    mapping,
    must_be,
    nullable,
    number,
    one_of,
    plain_name,
    record,
    sha256_text,
    text,
)
from ..images import GEOMETRIES, MAX_SIDE
from ..sources import LABEL_ORDERS

REMEDY = "copy it back, or make the dataset again"
MAX_SAMPLES = 2**31 - 1
"""Maximum number of samples of a split. The loader's orders are int32."""
MAX_BYTES = 2**50
"""Maximum size of a shard, bytes. Sums of sizes then fit into 64 bits."""


def is_base(url: str) -> bool:
    """Tell whether a text is a URL of one file system, without a query."""
    return (
        len(url) <= 2048 and re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s?#]*[^\s?#/]", url) is not None and "::" not in url
    )


def _base(value: object, field: str) -> None:
    if not isinstance(value, str) or not is_base(value):
        raise must_be(value, field, "a URL of a folder, without a slash at its end")


def _tar_name(value: object, field: str) -> None:
    plain_name(value, field)
    if not str(value).endswith(".tar"):
        raise must_be(value, field, "the name of a .tar file")


def is_field_name(name: str) -> bool:
    """Tell whether a text may name a field: letters, digits and "_", not a digit first."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name) is not None


def _field_name(value: object, field: str) -> None:
    if not isinstance(value, str) or not is_field_name(value):
        raise must_be(value, field, "a name of letters, digits and '_'")


_SETTINGS = record(
    {
        "limit": nullable(integer(least=1)),
        "samples_per_shard": integer(least=1),
        "jpeg_decoder": text(),
    },
    {
        "geometry": one_of(*GEOMETRIES),
        "enlarge": flag,
        "size": integer(least=1, most=MAX_SIDE),
        "quality": integer(least=1, most=100),
        "resampling": text(),
        "subsampling": text(),
        "orientation": text(),
    },
    others=anything,
)
_SHARD = record(
    {
        "name": _tar_name,
        "samples": integer(least=1, most=MAX_SAMPLES),
        "bytes": integer(least=1, most=MAX_BYTES),
        "sha256": sha256_text,
    }
)
MAX_DIMENSIONS, MAX_ROW = 8, 1 << 20
"""Most dimensions of a field's row, and most numbers in it."""
NUMBERS, BOXES = "numbers", "boxes"
DTYPES = ("|b1", "|u1", "|i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8")
"""Dtypes of fields: those that torch has too."""
BOX = ("<f4", (4,))
"""Dtype and shape of a box: x1, y1, x2, y2."""
_FIELD = record(
    {
        "kind": one_of(NUMBERS, BOXES),
        "dtype": one_of(*DTYPES),
        "shape": list_of(integer(least=1, most=MAX_ROW)),
        "rows": integer(most=MAX_BYTES),
    }
)
_RANGE = record({name: number(least=1) for name in ("min", "median", "max")})
_SPLIT = record(
    {
        "samples": integer(least=1, most=MAX_SAMPLES),
        "labelled": flag,
        "rejected": integer(),
        "per_class": nullable(record({"min": integer(), "max": integer(), "mean": number(least=0)})),
        "kinds": mapping(integer()),
        "shards": list_of(_SHARD),
        "files": mapping(sha256_text, keys=plain_name),
    },
    {
        "sizes": record({"height": _RANGE, "width": _RANGE}),
        "indexed": flag,
        "base": _base,
        "fields": mapping(_FIELD, keys=_field_name),
    },
)
_SOURCE = record({}, {"notes": list_of(text()), "suspect": mapping(integer())}, others=anything)
_APPENDED = record({"parent": sha256_text, "source": _SOURCE, "made_with": mapping(anything)})
_MANIFEST = record(
    {
        "classes": list_of(record({"id": text(empty=False), "name": text()})),
        "label_order": one_of(*LABEL_ORDERS, "shards"),
        "schema": integer(),
        "image_size": nullable(integer(least=1, most=MAX_SIDE)),
        "made_with": _SETTINGS,
        "source": _SOURCE,
        "splits": mapping(_SPLIT, keys=plain_name),
        "files": mapping(sha256_text, keys=plain_name),
    },
    {"appended": list_of(_APPENDED)},
)


def check_manifest(content: Any, field: str) -> None:
    """Accept the content of a manifest without `sha256`: types, ranges, sums and unique names."""
    _MANIFEST(content, field)
    if content["schema"] == 1 and content["image_size"] is None:
        raise must_be(None, "image_size", "a number in schema 1")
    _check_unique((f"classes[{index}].id", info["id"]) for index, info in enumerate(content["classes"]))
    names = [("files", name) for name in content["files"]]
    for split_name, split in content["splits"].items():
        place = f"splits.{split_name}"
        if ("sizes" in split) != (content["schema"] > 1):
            raise must_be(split.get("sizes"), f"{place}.sizes", "absent in schema 1, and present in later ones")
        if split.get("indexed") and content["schema"] == 1:
            raise must_be(True, f"{place}.indexed", "absent in schema 1")
        if "base" in split and not split.get("indexed"):
            raise must_be(split["base"], f"{place}.base", "absent unless the split is indexed")
        for counted in ("shards", "kinds"):
            counts = split["kinds"].values() if counted == "kinds" else (shard["samples"] for shard in split["shards"])
            if (total := sum(counts)) != split["samples"]:
                raise must_be(split["samples"], f"{place}.samples", f"{total}, the sum over its {counted}")
        for name, info in split.get("fields", {}).items():
            if info["kind"] == BOXES and (info["dtype"], tuple(info["shape"])) != BOX:
                raise must_be(info, f"{place}.fields.{name}", "of dtype <f4 and shape [4], because it has boxes")
            if len(info["shape"]) > MAX_DIMENSIONS or math.prod(info["shape"]) > MAX_ROW:
                wanted = f"of at most {MAX_DIMENSIONS} dimensions and {MAX_ROW} numbers"
                raise must_be(info["shape"], f"{place}.fields.{name}.shape", wanted)
        names += [(f"{place}.files", name) for name in split["files"]]
        shards = [(f"{place}.shards[{index}].name", shard["name"]) for index, shard in enumerate(split["shards"])]
        if "base" in split:  # not in the dataset's own folder
            _check_unique(shards)
        else:
            names += shards
    _check_unique(names)


def _check_unique(names: Iterable[tuple[str, str]]) -> None:
    """Raise `Mismatch` if a name occurs twice. names: pairs of field and name."""
    seen: set[str] = set()
    for field, name in names:
        if name in seen:
            raise must_be(name, field, "unique")
        seen.add(name)
