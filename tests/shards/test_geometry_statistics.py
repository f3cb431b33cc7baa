"""Statistics of images of several sizes: exact over all pixels, the same bits after any stop, and no mean image."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from making import Stop
from oracles import ENCODED, KEPT, decoded

from freelight.commands.compute_pca import command
from freelight.shards import (
    Dataset,
    FreelightError,
    Rescaling,
    RGBMoments,
    ShardSettings,
    Statistics,
    list_images,
    make_shards,
    write_statistics,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of original files, some of them grey, in five shards; without statistics."""
    root = tmp_path_factory.mktemp("whole")
    (root / "images" / "class").mkdir(parents=True)
    for place, data in enumerate([*KEPT.values(), *ENCODED.values()]):
        (root / "images" / "class" / f"{place}.jpg").write_bytes(data)
    settings = ShardSettings(rescaling=Rescaling(geometry="original"), samples_per_shard=4)
    make_shards(list_images(root / "images"), root / "dataset", settings)
    return root / "dataset"


@pytest.fixture
def dataset(whole: Path, tmp_path: Path) -> Dataset:
    return Dataset(shutil.copytree(whole, tmp_path / "dataset"))


def stop(parts: Iterable[RGBMoments], total: int) -> Iterator[RGBMoments]:
    """Stop after two shards."""
    for number, part in enumerate(parts):
        if number == 2:
            raise Stop
        yield part


def test_they_are_those_of_all_pixels_and_greys_count_as_rgb(dataset: Dataset) -> None:
    split = dataset.split("train")
    pixels = np.concatenate([decoded(split.read(index)).reshape(-1, 3) for index in range(len(split))])
    found = write_statistics(dataset)
    assert (found.images, found.pixels, found.mean_image) == (len(KEPT) + len(ENCODED), len(pixels), None)
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(pixels.T), rtol=1e-10)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(found.covariance)[::-1], rtol=1e-8)
    read = Statistics.load(dataset.folder)
    assert all(np.array_equal(value, vars(read)[name]) for name, value in vars(found).items())


@pytest.mark.parametrize("workers", [1, 2])
def test_stops_and_workers_change_no_bit(workers: int, dataset: Dataset, tmp_path: Path) -> None:
    write_statistics(dataset, out=tmp_path / "once.npz")
    with pytest.raises(Stop):
        write_statistics(dataset, watch=stop)
    write_statistics(dataset, workers=workers)
    for name in ("npz", "json"):
        assert (dataset.folder / f"statistics.{name}").read_bytes() == (tmp_path / f"once.{name}").read_bytes()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("n_pixels_", lambda a: a - 1),
        ("n_images_", lambda a: a + 1),
        ("shards", lambda a: a[:2]),
        ("shards", lambda a: a & False),
        ("sum_", lambda a: -a),
        ("sum_products_", lambda a: a - np.diag(a.diagonal() // 2)),
    ],
)
def test_damaged_sums_stop_a_restart(name: str, change: Callable[[Any], Any], dataset: Dataset) -> None:
    with pytest.raises(Stop):
        write_statistics(dataset, watch=stop)
    record = dataset.folder / ".statistics.npz.partial"
    with np.load(record) as archive:
        arrays = {**archive, name: change(archive[name])}
    with record.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(FreelightError, match=r"the sums are not those .* finished shards; delete it to start again"):
        write_statistics(dataset)


def test_a_mean_image_is_for_squares_alone_and_the_error_says_so(dataset: Dataset) -> None:
    result = CliRunner().invoke(command, ["--shards", str(dataset.folder)])
    assert result.exit_code == 0
    assert result.output.endswith("\nno mean image: the images are not squares of one size\n")
    statistics = Statistics.load(dataset.folder)
    message = r"the statistics of train of the dataset \w{12} have no mean image, because .* --geometry square"
    with pytest.raises(FreelightError, match=message):
        statistics.require_mean_image()


def test_statistics_that_no_images_of_several_sizes_have_are_refused(dataset: Dataset) -> None:
    path = dataset.folder / "statistics.npz"
    write_statistics(dataset)
    with np.load(path) as archive:
        arrays = dict(archive)
    for changed, message in (
        ({"pixels": arrays["images"] - 1}, r"pixels \(=17\) must be those of 18 images"),
        ({"pixels": arrays["images"] * 10**9}, "must be those of 18 images"),
        ({"mean": arrays["mean"] + 255}, "mean must lie in 0..255"),
        ({"mean_image": np.zeros((61, 61, 3), np.float32)}, r"pixels \(=\d+\) must be those of 18 images"),
    ):
        np.savez(path, **{**arrays, **changed})
        with pytest.raises(FreelightError, match=message):
            Statistics.load(dataset.folder)
