"""A store of decoded pixels is used for its dataset and decoder only, and says what is wrong with its files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from freelight.pipeline.decoded import DecodedStore
from freelight.shards import Dataset, FreelightError

SQUARE = 3 * 256 * 256


def open_store(dataset: Dataset, folder: Path, split: str = "train", **settings: Any) -> DecodedStore:
    return DecodedStore(folder, dataset.split(split), fingerprint=dataset.fingerprint, **settings)


@pytest.fixture
def filled(dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]], tmp_path: Path) -> Path:
    """The folder of a store that has the samples 0 and 7."""
    store = open_store(dataset, tmp_path / "store")
    for sample in (0, 7):
        store.write(sample, decoded["train"][sample])
    store.close()
    return tmp_path / "store"


def test_pixels_are_read_as_they_were_written(
    dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]], filled: Path
) -> None:
    store = open_store(dataset, filled)
    assert len(store) == 2
    assert store.has(np.array([0, 1, 7], np.int32)).tolist() == [True, False, True]
    for top, bottom in ((3, 200), (0, 256), (255, 256)):  # the first read is checked, and reads all
        rows = store.read(7, top, bottom)
        assert rows is not None
        assert np.array_equal(rows, decoded["train"][7][top:bottom])
    store.close()


def test_splits_of_a_dataset_share_a_folder(
    dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]], filled: Path
) -> None:
    store = open_store(dataset, filled, "val")
    assert len(store) == 0
    store.write(0, decoded["val"][0])
    store.close()
    assert len(open_store(dataset, filled)) == 2
    assert len(open_store(dataset, filled, "val")) == 1


def test_the_first_samples_that_fit_are_kept(dataset: Dataset, filled: Path) -> None:
    assert [open_store(dataset, filled, limit=limit).kept for limit in (0, SQUARE - 1, SQUARE, 8 * SQUARE)] == [
        0,
        0,
        1,
        8,
    ]
    assert [len(open_store(dataset, filled, limit=limit)) for limit in (0, SQUARE, 10**12)] == [0, 1, 2]


def test_pixels_of_another_dataset_or_decoder_are_refused(dataset: Dataset, filled: Path) -> None:
    header = filled / "train.decoded.json"
    content = json.loads(header.read_text())
    for field, value, fault in (
        ("dataset", "0" * 64, "the pixels are those of another dataset"),
        ("samples", "0" * 64, "the pixels are those of another dataset"),
        ("decoder", "DALI 1.0", "the pixels were decoded by DALI 1.0; here is DALI "),
        ("schema", 2, "was written by another version"),
        ("dataset", 5, "dataset .=5. must be"),
    ):
        header.write_text(json.dumps({**content, field: value}))
        with pytest.raises(FreelightError, match=rf"train.decoded.json:? {fault}.*give another folder, or delete it"):
            open_store(dataset, filled)


@pytest.mark.parametrize("suffix", ["pixels", "table"])
def test_damaged_files_are_said_or_decoded_anew(suffix: str, dataset: Dataset, filled: Path) -> None:
    path = filled / f"train.decoded.{suffix}"
    with path.open("r+b") as file:
        file.truncate({"table": 479, "pixels": 8 * SQUARE - 1}[suffix])
    if suffix == "table":
        with pytest.raises(FreelightError, match=r"train\.decoded\.table must have 480 bytes"):
            open_store(dataset, filled)
        path.write_bytes(b"\xff" * 480)
        assert len(open_store(dataset, filled)) == 0, "no word that says there are pixels"
    else:
        store = open_store(dataset, filled)
        assert store.read(7, 0, 256) is None, "its last byte is gone"
        assert len(store) == 1
        view = store.view(0)
        assert callable(view), "it is checked first"
        assert view() is not None
        with path.open("r+b") as file:
            file.truncate(7 * SQUARE)
        with pytest.raises(FreelightError, match=r"train\.decoded\.pixels was cut short while it was in use; delete"):
            store.check_length()
        store.refresh()
        assert len(store) == 1, "what was found damaged is not read again"
    path.unlink()
    with pytest.raises(FreelightError, match=rf"train.decoded.{suffix} is missing"):
        open_store(dataset, filled)


def test_wrong_settings_are_named(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(FreelightError, match=r"`decoded_bytes` \(=-1\) must be at least 0"):
        open_store(dataset, tmp_path, limit=-1)
    with pytest.raises(FreelightError, match="`decoded_check` 'never' is not one of first, always"):
        open_store(dataset, tmp_path, checks="never")
    assert list(tmp_path.iterdir()) == []
