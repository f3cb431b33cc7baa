"""Ordered sources are read once, and give the same bytes as a copy that is read at random."""

import functools
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from freelight.shards import Dataset, FreelightError, OrderedSource, ShardSettings, Source, list_images, make_shards
from freelight.shards.images import Rescaling
from freelight.shards.sources import RescaledSegment
from freelight.shards.writing.settings import NOT_IN_0_1

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
TINY = ShardSettings(rescaling=Rescaling(size=16), samples_per_shard=5)
TOOL = Path(__file__).parents[2] / "tools" / "make_shards"
CLASSES = ("n01440764", "n01751748", "n02119789")


def photograph(path: Path, seed: int) -> None:
    """A picture much larger than its sample, so that most bytes read are bytes of the source."""
    pixels = np.random.default_rng(seed).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "JPEG", quality=95)


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the older Hugging Face copy, unpacked: <split>/<name>, one of train's being no picture."""
    folder = tmp_path_factory.mktemp("flat")
    for place, (split, count) in enumerate((("train", 24), ("val", 9), ("test", 4))):
        (folder / split).mkdir()
        for number in range(count):
            wnid = "" if split == "test" else f"_{CLASSES[number % 3]}"
            photograph(folder / split / f"{split}_{number}{wnid}.JPEG", 100 * place + number)
    (folder / "train" / "bad_n01751748.JPEG").write_bytes(b"no picture")
    return folder


def pack(flat: Path, folder: Path, suffix: str) -> Path:
    folder.mkdir()
    for split in ("train", "val", "test"):
        files = sorted((flat / split).iterdir(), key=lambda path: path.name[::-1])
        parts = {f"{split}_images": files} if split != "train" else {f"{split}_images_{k}": files[k::2] for k in (0, 1)}
        for name, members in parts.items():
            with tarfile.open(folder / f"{name}.{suffix}", f"w:{suffix.partition('.')[2]}") as tar:
                for path in members:
                    tar.add(path, path.name)
    return folder


@pytest.fixture
def tar_gz(flat: Path, tmp_path: Path) -> Path:
    return pack(flat, tmp_path / "gz", "tar.gz")


@pytest.fixture
def parquets(flat: Path, tmp_path: Path) -> Path:
    """Two files for train, groups of four rows; test has label -1, names are those of `datasets`."""
    folder = tmp_path / "parquet" / "data"
    folder.mkdir(parents=True)
    features = {"info": {"features": {"label": {"names": ["tench", "sea snake", "kit fox"]}}}}
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        files = sorted((flat / split).iterdir(), key=lambda path: path.name[::-1])
        for part in (0, 1) if split == "train" else (0,):
            chosen = files[part::2] if split == "train" else files
            rows = [
                {
                    "image": {"bytes": path.read_bytes(), "path": path.name},
                    "label": -1 if split == "test" else CLASSES.index(path.stem.rsplit("_", 1)[1]),
                }
                for path in chosen
            ]
            table = pyarrow.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(features)})
            parquet.write_table(table, folder / f"{name}-{part:05d}-of-00002.parquet", row_group_size=4)
    return folder.parent


@pytest.fixture(scope="module")
def at_random(flat: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset made from plain tars, which are read at random."""
    root = tmp_path_factory.mktemp("random")
    source = list_images(pack(flat, root / "tar", "tar"))
    assert isinstance(source, Source)
    make_shards(source, root / "out", TINY)
    return root / "out"


def pixels_of(out: Path) -> dict[str, bytes]:
    """The files that decide what a reader sees; paths in sources.txt and rejected.jsonl name another container."""
    names = sorted(path.name for path in out.iterdir() if path.suffix in (".tar", ".idx", ".npy"))
    return {name: (out / name).read_bytes() for name in names}


@pytest.mark.parametrize("workers", [1, 2])
def test_tar_gz_gives_the_bytes_of_a_copy_that_is_read_at_random(workers: int, tar_gz: Path, at_random: Path) -> None:
    source = list_images(tar_gz)
    assert isinstance(source, OrderedSource)
    out = tar_gz.parent / "out"
    make_shards(source, out, TINY, workers=workers)
    assert pixels_of(out) == pixels_of(at_random)
    assert not (out / ".partial").exists()
    assert Dataset(out).manifest.splits["test"].labelled is False
    for name in ("train.sources.txt", "rejected.jsonl"):
        assert (out / name).read_text().replace(".tar.gz/", ".tar/") == (at_random / name).read_text()


def test_parquet_gives_the_bytes_of_a_copy_that_is_read_at_random(parquets: Path, at_random: Path) -> None:
    """The order within a class is by path, and paths start differently here: samples are compared by name."""
    out = parquets.parent / "out"
    manifest = make_shards(list_images(parquets), out, TINY)
    assert [(info.id, info.name) for info in manifest.classes] == list(
        zip(CLASSES, ("tench", "sea snake", "kit fox"), strict=True)
    )
    for name in ("train", "val", "test"):
        mine, other = Dataset(out).split(name), Dataset(at_random).split(name)
        samples = [
            sorted(
                (path.rsplit("/", 1)[1], int(row["label"]), split.read(index))
                for index, (path, row) in enumerate(zip(split.sources, split.samples, strict=True))
            )
            for split in (mine, other)
        ]
        assert samples[0] == samples[1]
    assert pixels_of(out) == pixels_of(at_random)


def read_by_this_process() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize("layout", ["tar_gz", "parquets"])
def test_an_ordered_source_is_read_once(layout: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """By the kernel's count, at most 1.1 times its bytes are read, including the segments."""
    images: Path = request.getfixturevalue(layout)
    make_shards(list_images(images), tmp_path / "warm", TINY)  # imports read files too
    size = sum(path.stat().st_size for path in images.rglob("*") if path.is_file())
    before = read_by_this_process()
    make_shards(list_images(images), tmp_path / "out", TINY)
    assert size <= read_by_this_process() - before <= 1.1 * size


class Stop(Exception):  # noqa: N818
    """Ends a job early."""


@pytest.mark.parametrize("layout", ["tar_gz", "parquets"])
def test_stopped_while_staging_it_resumes_to_the_same_bytes(
    layout: str, request: pytest.FixtureRequest, at_random: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freelight.shards.sources.segments.SEGMENT_IMAGES", 3)
    images: Path = request.getfixturevalue(layout)
    out = images.parent / "out"

    def stop_after(count: int, items: Any) -> Any:
        for done, item in enumerate(items):
            if done == count:
                raise Stop
            yield item

    for count in (0, 2, 4):
        stop = functools.partial(stop_after, count)
        with pytest.raises(Stop):
            make_shards(list_images(images), out, TINY, watch_ordered=lambda items, total, stop=stop: stop(items))
        assert not (out / "dataset.json").exists()
    staged = {path: path.stat().st_ino for path in (out / ".partial" / "staged").glob("*.json")}
    assert len(staged) >= 8
    seen: list[RescaledSegment] = []
    make_shards(list_images(images), out, TINY, watch_ordered=lambda items, total: (seen.append(i) or i for i in items))
    assert len(seen) > 0
    assert pixels_of(out) == pixels_of(at_random)


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["tar_gz", "parquets"])
def test_killed_while_staging_it_ends_with_the_tree_of_a_run_that_nobody_stopped(
    layout: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Repeated SIGKILLs, each at a given number of segments; finished segments are not made again."""
    images: Path = request.getfixturevalue(layout)
    out, whole = tmp_path / "killed", tmp_path / "whole"

    def command(out: Path, workers: int) -> list[str]:
        options = {"--images": images, "--out": out, "--size": 16, "--samples-per-shard": 5, "--workers": workers}
        return [sys.executable, str(TOOL), *(str(word) for option in options.items() for word in option)]

    subprocess.run(command(whole, 1), check=True, capture_output=True)
    area = out / ".partial" / "staged"
    moments: list[Callable[[], bool]] = [
        area.exists,
        lambda: bool(list(area.glob("*.bin.*.tmp"))),
        lambda: len(list(area.glob("*.json"))) >= 1,
        lambda: len(list(area.glob("*.json"))) >= 3,
    ]
    for kills, moment in enumerate(moments):
        staged = {path: path.stat().st_ino for path in area.glob("*.json")}
        words = command(out, 1 + kills % 2)
        job = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not moment():
                assert job.poll() is None, "the job ended before the moment came"
                time.sleep(0.0002)
        finally:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
        assert not (out / "dataset.json").exists(), "the kill came too late"
        assert {path: path.stat().st_ino for path in staged} == staged
    assert area.exists(), "no kill came after staging had ended"
    subprocess.run(command(out, 1), check=True, capture_output=True)
    assert tree(out) == tree(whole)


@pytest.mark.parametrize("layout", ["tar_gz", "parquets"])
def test_for_a_url_it_is_staged_in_a_named_folder_and_resumes_there(
    layout: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    images: Path = request.getfixturevalue(layout)
    out, staging = f"file://{tmp_path}/store", tmp_path / "staging"
    with pytest.raises(
        FreelightError, match=r"cannot be written to file://.* directly; give `staging`, a local folder"
    ):
        make_shards(list_images(images), out, TINY)

    def stop(records: Any, total: int | None) -> Any:
        yield next(iter(records))
        raise Stop

    with pytest.raises(Stop):
        make_shards(list_images(images), out, TINY, staging=staging, watch=stop)
    assert len(list(staging.glob("*/*.json"))) >= 4
    plan = json.loads((tmp_path / "store" / ".partial" / "plan.json").read_text())
    for name in ("schema", *NOT_IN_0_1):
        del plan[name]
    job = hashlib.sha256(json.dumps([out, plan]).encode()).hexdigest()
    assert (staging / job[:16]).is_dir(), "the folder that release 0.1 would have filled"
    seen: list[RescaledSegment] = []
    make_shards(
        list_images(images),
        out,
        TINY,
        staging=staging,
        watch_ordered=lambda items, total: (seen.append(i) for i in items),
    )
    assert seen == [], "a finished segment was made again"
    make_shards(list_images(images), tmp_path / "local", TINY)
    assert tree(tmp_path / "store") == tree(tmp_path / "local")
    assert list(staging.iterdir()) == []


def test_a_finished_ordered_dataset_is_known_again_and_other_settings_are_an_error(tar_gz: Path) -> None:
    out = tar_gz.parent / "out"
    settings = ShardSettings(rescaling=Rescaling(size=16))
    made = make_shards(list_images(tar_gz), out, settings)
    assert make_shards(list_images(tar_gz), out, settings) == made
    with pytest.raises(FreelightError, match="seed: 0 then, 1 now"):
        make_shards(list_images(tar_gz), out, ShardSettings(rescaling=Rescaling(size=16), seed=1))
    (tar_gz.parent / "some").write_text("n01440764\n")
    with pytest.raises(FreelightError, match="another list of `classes`"):
        make_shards(list_images(tar_gz, classes=tar_gz.parent / "some"), out, settings)


def test_classes_not_wanted_are_not_staged(tar_gz: Path) -> None:
    (tar_gz.parent / "some").write_text("n02119789\n")
    manifest = make_shards(list_images(tar_gz, classes=tar_gz.parent / "some"), tar_gz.parent / "out", TINY)
    assert {name: split.samples for name, split in manifest.splits.items()} == {"train": 8, "val": 3, "test": 4}


def test_the_fall_2011_tar_gz_gives_the_bytes_of_the_plain_tar(flat: Path, tmp_path: Path) -> None:
    """Tar inside tar, compressed as a whole, half of each class held out."""
    for wnid in CLASSES:
        with tarfile.open(tmp_path / f"{wnid}.tar", "w") as tar:
            for path in (flat / "train").glob(f"*{wnid}.JPEG"):
                tar.add(path, path.name)
    with tarfile.open(tmp_path / "fall11_whole.tar", "w") as tar:
        for wnid in reversed(CLASSES):
            tar.add(tmp_path / f"{wnid}.tar", f"{wnid}.tar")
    with (tmp_path / "fall11_whole.tar").open("rb") as plain, gzip.open(tmp_path / "fall11_whole.tar.gz", "wb") as file:
        shutil.copyfileobj(plain, file)
    outs = []
    for name in ("fall11_whole.tar", "fall11_whole.tar.gz"):
        outs.append(tmp_path / f"out-{name}")
        make_shards(list_images(tmp_path / name, val_fraction=0.5), outs[-1], TINY)
    assert pixels_of(outs[0]) == pixels_of(outs[1])
    assert {name: split.samples for name, split in Dataset(outs[0]).manifest.splits.items()} == {"train": 12, "val": 12}


@pytest.mark.parametrize("keep", [0.3, 0.999])
def test_a_tar_gz_cut_short_is_an_error(keep: float, tar_gz: Path) -> None:
    path = tar_gz / "val_images.tar.gz"
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(FreelightError, match=r"val_images\.tar\.gz is (damaged or )?cut short"):
        make_shards(list_images(tar_gz), tar_gz.parent / "out", TINY)


def test_without_pyarrow_parquet_names_the_extra(parquets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(FreelightError, match=r"parquet needs pyarrow; .* 'freelight\[parquet\]'"):
        list_images(parquets)
