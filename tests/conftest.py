"""Drawn pictures and a dataset made from them, shared by all tests and read only. A test that changes files copies
them."""

import shutil
import signal
from pathlib import Path

import pytest
from foreign_tars import sample, write_tars

from freelight.demo.drawing import draw_pictures
from freelight.shards import (
    Dataset,
    ShardSettings,
    compute_statistics,
    index_shards,
    list_images,
    list_tars,
    make_shards,
)

TRAIN_PER_CLASS, VAL_PER_CLASS, SAMPLES_PER_SHARD = 6, 2, 16


@pytest.hookimpl(trylast=True)  # after tests were deselected: torch is imported for a test that needs a GPU only
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a GPU where there is none; there, warnings are errors only if they come from our code."""
    for item in items:
        if item.get_closest_marker("gpu"):
            import torch

            item.add_marker(pytest.mark.filterwarnings("default", r"error:::freelight\b"))
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let Ctrl-C interrupt this process and its children: a background job starts with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of ten classes in `train/` and `val/`, and `class-names.tsv`.

    60 pictures of train decode (a CMYK JPEG, a grey one and a PNG among them) and 20 of val; 3 files of train do not:
    a truncated JPEG, an empty file, and a text.
    """
    folder = tmp_path_factory.mktemp("drawn") / "pictures"
    drawn = draw_pictures(folder, train_per_class=TRAIN_PER_CLASS, val_per_class=VAL_PER_CLASS)
    bad = drawn.defects["truncated"].parent
    (bad / "empty.JPEG").touch()
    (bad / "text.JPEG").write_text("not a picture\n")
    return folder


@pytest.fixture(scope="session")
def dataset(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset made of `pictures`, at 256 pixels: 60 samples in four shards, 20 in two, with statistics."""
    source = list_images(pictures, val_fraction=None, class_names=pictures / "class-names.tsv", seed=0)
    folder = tmp_path_factory.mktemp("made") / "dataset"
    make_shards(source, folder, ShardSettings(samples_per_shard=SAMPLES_PER_SHARD))
    made = Dataset(folder)
    compute_statistics(made).save(folder)
    return made


@pytest.fixture
def dataset_copy(dataset: Dataset, tmp_path: Path) -> Dataset:
    """The same dataset, to be damaged."""
    return Dataset(shutil.copytree(dataset.folder, tmp_path / "copy"))


@pytest.fixture(scope="session")
def foreign_tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tars of other people: 3 of train with 11 samples each, and 3 of validation with 3."""
    folder = tmp_path_factory.mktemp("foreign") / "tars"
    write_tars(folder, "imagenet1k-train", [sample(number) for number in range(33)], 11)
    write_tars(folder, "imagenet1k-validation", [sample(number) for number in range(100, 109)], 3)
    return folder


@pytest.fixture(scope="session")
def indexed(foreign_tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset that index_shards makes of `foreign_tars`."""
    out = tmp_path_factory.mktemp("indexed") / "dataset"
    index_shards(
        list_tars(
            [
                f"train={foreign_tars}/imagenet1k-train-{{0000..0002}}.tar",
                f"validation={foreign_tars}/imagenet1k-validation-*.tar",
            ]
        ),
        out,
    )
    return Dataset(out)
