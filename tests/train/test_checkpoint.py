"""A checkpoint holds the whole network and all that its use needs, complete or not at all."""

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from disks import file_limit

from freelight.shards import Dataset, FreelightError, Rescaling, Statistics
from freelight.train import Checkpoint


def flat(value: Any) -> Any:
    """Turn a checkpoint's content into values that == compares bit for bit."""
    if isinstance(value, torch.Tensor | np.ndarray):
        array = np.asarray(value)
        return array.dtype.str, array.shape, array.tobytes()
    if dataclasses.is_dataclass(value):
        return {field.name: flat(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return {key: flat(item) for key, item in value.items()} if isinstance(value, dict) else value


@pytest.fixture
def checkpoint(run: Path) -> Checkpoint:
    return Checkpoint.load(run / "last.pt")


def test_it_comes_back_as_it_was_saved(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "copy.pt")
    assert flat(Checkpoint.load(tmp_path / "copy.pt")) == flat(checkpoint)
    assert [path.name for path in tmp_path.iterdir()] == ["copy.pt"]


def test_it_holds_all_that_a_later_use_needs(checkpoint: Checkpoint, dataset: Dataset) -> None:
    """Evaluation, prediction and retrieval must not need the statistics of the data that they read."""
    assert checkpoint.class_ids == [info.id for info in dataset.manifest.classes]
    assert checkpoint.class_names == [info.name for info in dataset.manifest.classes]
    assert checkpoint.class_names[:2] == ["disc", "ring"]
    assert checkpoint.rescaling == Rescaling(size=256, quality=95)
    assert (checkpoint.image_size, checkpoint.fingerprint) == (256, dataset.fingerprint)
    assert flat(checkpoint.statistics) == flat(Statistics.load(dataset.folder))
    assert (checkpoint.recipe.batch_size, checkpoint.recipe.lighting) == (16, "eigenvalue")
    assert checkpoint.progress["step"] == 8
    assert (checkpoint.progress["loader"]["epoch"], checkpoint.progress["loader"]["position"]) == (2, 0)
    shapes = {name: parameter.shape for name, parameter in checkpoint.network().named_parameters()}
    assert {name: weights.shape for name, weights in checkpoint.weights.items()} == shapes
    assert {name: velocity.shape for name, velocity in checkpoint.velocity.items()} == shapes


def test_it_holds_how_the_pictures_were_rescaled(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Picture files must be rescaled as the training images were: other filters and qualities give other pixels."""
    path = tmp_path / "last.pt"
    rough = Rescaling(size=256, quality=30, resampling="bilinear")
    dataclasses.replace(checkpoint, rescaling=rough).save(path)
    assert Checkpoint.load(path).rescaling == rough


def test_two_columns_write_the_checkpoint_that_one_process_writes(checkpoint: Checkpoint, two_column_run: Path) -> None:
    """Same names and shapes, and after eight steps the same values except for rounding."""
    other = Checkpoint.load(two_column_run / "last.pt")
    apart = {"weights": 0, "velocity": 0, "history": 0}
    assert flat({**vars(other), **apart}) == flat({**vars(checkpoint), **apart})
    for ours, theirs in ((checkpoint.weights, other.weights), (checkpoint.velocity, other.velocity)):
        assert list(ours) == list(theirs)
        for name, tensor in ours.items():
            torch.testing.assert_close(
                theirs[name], tensor, rtol=1e-3, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
            )


def test_it_is_tensors_and_plain_values_which_torch_loads_without_executing_anything(run: Path) -> None:
    content = torch.load(run / "last.pt", weights_only=True)
    assert content["format"] == 2
    assert isinstance(content["recipe"], dict)


@pytest.mark.parametrize("size", [0, 1_000_000, -1])
def test_a_full_disk_while_saving_leaves_the_one_before(checkpoint: Checkpoint, size: int, tmp_path: Path) -> None:
    """At its first byte, inside a tensor, and at the last bytes, which torch writes when it closes the file."""
    path = tmp_path / "last.pt"
    checkpoint.save(path)
    before = path.read_bytes()
    limit = size if size >= 0 else len(before) + size
    with file_limit(limit), pytest.raises(OSError, match=rf"File too large: '{path}'"):
        dataclasses.replace(checkpoint, seed=1).save(path)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"], "no temporary file may stay"


class Code:
    """The content of a malicious checkpoint."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("kind", ["half", "but-a-byte", "empty", "text", "pickle", "code"])
def test_a_damaged_or_foreign_file_is_one_line_and_nothing_in_it_is_executed(
    kind: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = (run / "last.pt").read_bytes()
    contents = {
        "half": whole[: len(whole) // 2],
        "but-a-byte": whole[:-1],
        "empty": b"",
        "text": b"not a checkpoint\n",
        "pickle": pickle.dumps(Code()),
    }
    path = tmp_path / "last.pt"
    if kind == "code":
        torch.save({"format": 1, "weights": Code()}, path)
    else:
        path.write_bytes(contents[kind])
    with pytest.raises(FreelightError) as raised:
        Checkpoint.load(path)
    assert str(raised.value) == f"{path} is damaged or not a checkpoint; name another file"
    assert not Path("executed").exists()


@pytest.mark.parametrize("content", [{"weights": {}}, {"format": 99}, torch.zeros(3)], ids=["none", "99", "tensor"])
def test_what_torch_loads_but_is_no_checkpoint_of_this_format_is_an_error(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(FreelightError, match=r"other\.pt is not a checkpoint of format 2"):
        Checkpoint.load(tmp_path / "other.pt")


def test_a_checkpoint_that_is_not_there_is_an_error_naming_it(tmp_path: Path) -> None:
    with pytest.raises(FreelightError, match=rf"there is no checkpoint {tmp_path}/none\.pt"):
        Checkpoint.load(tmp_path / "none.pt")
    with pytest.raises(FreelightError, match="is not a regular file; name another file"):
        Checkpoint.load(tmp_path)


def with_classes(dataset: Dataset, ids: list[str]) -> Dataset:
    """Return the dataset with the classes of these ids, in this order."""
    other = Dataset(dataset.folder)
    known = {info.id: info for info in dataset.manifest.classes}
    anyone = dataset.manifest.classes[0]
    classes = tuple(known.get(class_id, dataclasses.replace(anyone, id=class_id)) for class_id in ids)
    other.manifest = dataclasses.replace(dataset.manifest, classes=classes)
    return other


def test_the_same_classes_in_the_same_order_keep_their_labels(checkpoint: Checkpoint, dataset: Dataset) -> None:
    assert checkpoint.label_map(dataset).tolist() == list(range(10))


def test_the_same_classes_in_another_order_are_matched_by_id(checkpoint: Checkpoint, dataset: Dataset) -> None:
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    shuffled = with_classes(dataset, [checkpoint.class_ids[label] for label in order])
    assert checkpoint.label_map(shuffled).tolist() == order
    assert checkpoint.label_map(shuffled).dtype == torch.int64


def test_other_classes_are_an_error_naming_the_first_difference(checkpoint: Checkpoint, dataset: Dataset) -> None:
    ids = checkpoint.class_ids
    with pytest.raises(FreelightError, match=rf"only the checkpoint has '{ids[9]}'"):
        checkpoint.label_map(with_classes(dataset, ids[:9]))
    with pytest.raises(FreelightError, match=rf"only the dataset {dataset.folder} has 'n00000001'"):
        checkpoint.label_map(with_classes(dataset, ["n00000001", *ids]))
    with pytest.raises(FreelightError, match=rf"only the checkpoint has '{ids[4]}'"):
        checkpoint.label_map(with_classes(dataset, [*ids[:4], "n99999999", *ids[5:]]))
