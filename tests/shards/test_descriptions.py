"""`_info.json` and the dataset card say what the manifest says, to software that does not know it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from making import SMALL, Stop, files

from freelight.shards import Dataset, FreelightError, ShardRecord, Source, make_shards, verify_dataset
from freelight.shards.dataset import with_own_hash
from freelight.shards.sources import ClassInfo
from freelight.shards.writing.descriptions import describe_dataset, manifest_from_info

yaml = pytest.importorskip("yaml")


def front_matter(card: bytes) -> Any:
    """Return the YAML at the head of a card."""
    head, block, _ = card.decode().split("---\n")
    assert head == ""
    return yaml.safe_load(block)


def class_names(card: bytes) -> list[str]:
    label = front_matter(card)["dataset_info"]["features"][0]
    assert label["name"] == "cls"
    names = label["dtype"]["class_label"]["names"]
    assert list(names) == [str(number) for number in range(len(names))]
    return list(names.values())


def test_the_info_has_each_splits_shards_and_the_classes(dataset: Dataset) -> None:
    info = json.loads((dataset.folder / "_info.json").read_text())
    assert list(info["splits"]) == ["train", "val"]
    for name, split in dataset.manifest.splits.items():
        assert (
            info["splits"][name].items()
            >= {
                "name": name,
                "num_samples": split.samples,
                "filenames": [shard.name for shard in split.shards],
                "shard_lengths": [shard.samples for shard in split.shards],
            }.items()
        )
    assert [ClassInfo(**found) for found in info["classes"]] == list(dataset.manifest.classes)
    assert info["made_with"] == dataset.manifest.made_with


def test_the_info_has_all_that_the_manifest_says(dataset: Dataset, indexed: Dataset) -> None:
    for made in (dataset, indexed):
        found = manifest_from_info(made.folder / "_info.json")
        assert found.to_bytes() == (made.folder / "dataset.json").read_bytes()


def without_own_hash(content: dict[str, Any]) -> bytes:
    return with_own_hash({name: value for name, value in content.items() if name != "sha256"})


SPOILT = {
    "a changed byte": (lambda content: json.dumps(content).replace("tench", "bench").encode(), "own sha256 differs"),
    "no JSON": (lambda content: b"{", "is not valid JSON"),
    "of an earlier version": (
        lambda content: json.dumps({name: content[name] for name in ("splits", "classes", "made_with")}).encode(),
        "is of an earlier version: it lacks the labels' order, the source, and the files' hashes",
    ),
    "lists of two lengths": (
        lambda content: without_own_hash(
            content | {"splits": {"train": content["splits"]["train"] | {"filenames": []}}}
        ),
        r"splits\.train has lists of different lengths",
    ),
    "no lists": (
        lambda content: without_own_hash(
            content | {"splits": {"train": content["splits"]["train"] | {"filenames": 3}}}
        ),
        r"splits\.train\.filenames \(=3\) must be a list",
    ),
    "a name that is a path": (
        lambda content: without_own_hash(content | {"files": {"../x": "0" * 64}}),
        r"files.*\.\./x.* must be a name",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_an_info_that_is_spoilt_gives_no_manifest(name: str, dataset: Dataset, tmp_path: Path) -> None:
    spoil, message = SPOILT[name]
    path = tmp_path / "_info.json"
    path.write_bytes(spoil(json.loads((dataset.folder / "_info.json").read_text())))
    with pytest.raises(FreelightError, match=message):
        manifest_from_info(path)


def test_the_card_names_the_shards_of_each_split_and_the_classes(dataset: Dataset) -> None:
    """Its patterns match all the shards, and nothing else in the folder."""
    card = (dataset.folder / "README.md").read_bytes()
    content = front_matter(card)
    (config,) = content["configs"]
    assert config["config_name"] == "default"
    for entry, counts in zip(config["data_files"], content["dataset_info"]["splits"], strict=True):
        split = dataset.manifest.splits[entry["split"]]
        found = sorted(path.name for path in dataset.folder.glob(entry["path"]))
        assert found == [shard.name for shard in split.shards]
        assert counts == {
            "name": entry["split"],
            "num_bytes": sum(shard.bytes for shard in split.shards),
            "num_examples": split.samples,
        }
    assert class_names(card) == [info.name for info in dataset.manifest.classes]


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        ([("a", "crane"), ("b", "crane"), ("c", "")], ["crane (a)", "crane (b)", "c"]),
        ([("a", "x"), ("b", "x"), ("c", "x (a)")], ["a", "b", "c"]),
        ([("no", "yes"), ("1", '"\\: #'), ("café", "ring\n---\ntail\u2028\u0085\x7f\U0001f600")], None),
        ([("\udcff", "\udcff"), ("x", "'"), ("y", " ")], None),
    ],
    ids=["same name", "same name with an id", "quoted", "no UTF-8"],
)
def test_class_names_are_unique_and_come_back_from_yaml(
    classes: list[tuple[str, str]], names: list[str] | None, dataset: Dataset
) -> None:
    """Two classes of ImageNet are cranes, and datasets' `ClassLabel` refuses a name that repeats."""
    manifest = replace(dataset.manifest, classes=tuple(ClassInfo(*info) for info in classes))
    described = describe_dataset(manifest)
    assert class_names(described["README.md"]) == (names or [name for _, name in classes])
    assert [ClassInfo(**info) for info in json.loads(described["_info.json"])["classes"]] == list(manifest.classes)


def test_the_card_of_a_dataset_with_metadata_has_its_fields(dataset: Dataset) -> None:
    made_with = {**dataset.manifest.made_with, "metadata": True}
    card = describe_dataset(replace(dataset.manifest, made_with=made_with))["README.md"]
    features = {feature["name"]: feature for feature in front_matter(card)["dataset_info"]["features"]}
    assert list(features) == ["cls", "jpg", "json", "__key__", "__url__"]
    fields = {field["name"]: field["dtype"] for field in features["json"]["struct"]}
    text = dict.fromkeys(("class_id", "class_name", "source"), "string")
    assert fields == {**text, **dict.fromkeys(("original_height", "original_width"), "int64")}


def test_the_card_of_other_peoples_tars_names_the_shards_alone(indexed: Dataset) -> None:
    """Their members are not known, and a type that is wrong is an error of datasets."""
    content = front_matter((indexed.folder / "README.md").read_bytes())
    assert list(content) == ["configs"]
    assert content["configs"][0]["data_files"] == [
        {"split": name, "path": f"{name}-??????.tar"} for name in ("train", "val")
    ]


def test_the_splits_names_are_those_that_datasets_allows(dataset: Dataset) -> None:
    """Its split names have no hyphen, and `no` is a truth value of YAML."""
    splits = {"no": dataset.manifest.splits["train"], "v-2.b": dataset.manifest.splits["val"]}
    content = front_matter(describe_dataset(replace(dataset.manifest, splits=splits))["README.md"])
    assert content["configs"][0]["data_files"] == [
        {"split": "no", "path": "no-??????.tar"},
        {"split": "v_2_b", "path": "v-2.b-??????.tar"},
    ]
    assert [split["name"] for split in content["dataset_info"]["splits"]] == ["no", "v_2_b"]


def test_a_dataset_begun_in_schema_1_is_finished_without_them(source: Source, tmp_path: Path) -> None:
    def stop(records: Iterable[ShardRecord], total: int | None) -> Iterable[ShardRecord]:
        raise Stop

    with pytest.raises(Stop):
        make_shards(source, tmp_path, SMALL, watch=stop)
    plan = tmp_path / ".partial/plan.json"
    begun = json.loads(plan.read_text())
    del begun["schema"]
    plan.write_text(json.dumps(begun))
    assert list(make_shards(source, tmp_path, SMALL).files) == ["rejected.jsonl"]
    assert not {"_info.json", "README.md"} & set(files(tmp_path))


@pytest.mark.parametrize("name", ["_info.json", "README.md"])
def test_the_manifest_has_their_hashes_and_a_change_is_found(name: str, dataset_copy: Dataset) -> None:
    path = dataset_copy.folder / name
    assert dataset_copy.manifest.files[name] == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes() + b"\n")
    assert verify_dataset(dataset_copy.folder) == [f"{path} was changed after it was written"]
