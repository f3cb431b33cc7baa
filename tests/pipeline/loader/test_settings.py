"""A loader's settings are read-only: its draws are made from them, and its state names them."""

from typing import Any

import pytest
from loading import make

from freelight.shards import Dataset


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 99),
        ("batch_size", 7),
        ("rank", 0),
        ("world_size", 2),
        ("order", "sequential"),
        ("device", "cuda"),
        ("split", "val"),
        ("dataset", None),
        ("statistics", None),
        ("last", "drop"),
        ("steps_per_epoch", 3),
        ("extras", ()),
        ("mix", None),
        ("layout", "NHWC"),
        ("decoding", None),
        ("prefetch", 3),
        ("num_threads", 1),
        ("group", None),
        ("check_exchange", True),
        ("epoch", 3),
        ("position", 16),
        ("skipped", {}),
        ("bytes_read", 0),
    ],
)
def test_a_setting_cannot_be_changed(name: str, value: Any, dataset: Dataset) -> None:
    """Otherwise the state would name another seed than that of the draws, and a resumed epoch would repeat samples."""
    loader = make(dataset)
    before = getattr(loader, name)
    with pytest.raises(AttributeError):
        setattr(loader, name, value)
    assert getattr(loader, name) is before or getattr(loader, name) == before


def test_the_error_says_what_to_do(dataset: Dataset) -> None:
    with pytest.raises(AttributeError, match=r"Loader\.seed is read-only; make another Loader"):
        make(dataset).seed = 99  # type: ignore[misc]
