"""A dataset behind a URL is a dataset: its statistics are put there, it is verified, and messages show the URL."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from freelight.cli import main
from freelight.shards import Dataset, FreelightError, Statistics, open_dataset, verify_dataset, write_statistics
from freelight.shards.base import Command, typed_command


@pytest.fixture
def far(small: Path, tmp_path: Path) -> Path:
    """The folder behind the URL."""
    return Path(shutil.copytree(small, tmp_path / "far"))


def typed(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_statistics_are_put_beside_the_shards_which_are_read_once(
    far: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a cache: nothing stays on this machine, and at most the shards at hand are there at a time."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    largest: list[int] = []
    url = f"file://{far}"
    with open_dataset(url, streams=2) as dataset:
        cache = dataset.cache
        assert cache is not None

        def watch(parts, total):  # type: ignore[no-untyped-def]
            for part in parts:
                largest.append(sum(path.stat().st_size for path in cache.folder.glob("*.tar")))
                yield part

        found = write_statistics(dataset, watch=watch)
    split = Dataset(small).manifest.splits["train"]
    assert len(largest) == len(split.shards)
    assert max(largest) <= 2 * max(shard.bytes for shard in split.shards)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert found.fingerprint == Dataset(far).fingerprint
    for name in ("statistics.npz", "statistics.json"):
        assert (far / name).is_file()
    assert Statistics.load(far).mean.tolist() == found.mean.tolist()
    marks = (far / "statistics.npz").stat().st_mtime_ns
    with open_dataset(url) as dataset:
        assert write_statistics(dataset).mean.tolist() == found.mean.tolist()
    assert (far / "statistics.npz").stat().st_mtime_ns == marks, "finished statistics are not computed again"


def test_verification_streams_and_finds_what_it_finds_in_a_folder(far: Path) -> None:
    url = f"file://{far}"
    assert verify_dataset(url, level="decode") == []
    data = bytearray((far / "train-000001.tar").read_bytes())
    data[3000] ^= 1
    (far / "train-000001.tar").write_bytes(data)
    (far / "val-000000.tar").unlink()
    (far / "val-000001.idx").write_bytes(b"")
    shutil.copy(far / "val-000001.tar", far / "val-000009.tar")
    problems = "\n".join(verify_dataset(url))
    assert f"{url}/train-000001.tar: the sample from" in problems
    assert f"{url}/val-000000.tar is missing; put it back there" in problems
    assert f"{url}/val-000001.idx is not what the manifest says" in problems
    assert f"{url}/val-000009.tar is not in the manifest" in problems
    assert len(problems.splitlines()) == 4


@pytest.mark.slow
def test_the_commands_take_urls_and_say_them(far: Path, tmp_path: Path) -> None:
    url = f"file://{far}"
    missing = typed("preview", "--shards", url, "--out", str(tmp_path / "x.png"))
    assert missing.exit_code == 2
    remedy = f"freelight compute-pca --shards {url}"
    assert f"error: {url}/statistics.npz is missing; make it with: {remedy}\n" in missing.output
    assert typed("compute-pca", "--shards", url, "--workers", "1").exit_code == 0
    assert typed("verify-shards", "--shards", url, "--workers", "1").exit_code == 0
    shown = typed("preview", "--shards", url, "--out", str(tmp_path / "x.png"), "--rows", "1", "--draws", "1")
    assert shown.exit_code == 0, shown.output
    nowhere = typed("verify-shards", "--shards", f"{url}/nowhere")
    assert nowhere.exit_code == 2
    assert (
        f"error: {url}/nowhere is not a finished dataset (no dataset.json); make it with: freelight make-shards"
        in nowhere.output
    )


def test_errors_show_the_url(far: Path) -> None:
    url = f"file://{far}"
    with (
        pytest.raises(FreelightError, match=rf"^{url} has no split 'test'; it has: train, val"),
        open_dataset(url) as one,
    ):
        one.split("test")
    with pytest.raises(FreelightError, match=r"was a URL before `Path` changed it; give it as text"):
        Dataset(Path("s3://bucket/dataset"))


@pytest.mark.slow
def test_storage_options_reach_the_file_system(far: Path, tmp_path: Path) -> None:
    """They are fsspec's own, so a wrong one is an error of the file system, which is said."""
    fsspec = pytest.importorskip("fsspec")
    options = {"auto_mkdir": True}
    with open_dataset(f"file://{far}", storage_options=options) as dataset:
        assert dataset.storage_options == options
        assert fsspec.filesystem("file", **options) is fsspec.core.url_to_fs(f"file://{far}", **options)[0]
    words = ("verify-shards", "--shards", "memory://nothing", "--storage-options")
    refused = typed(*words, "{SECRET")
    assert refused.exit_code == 2
    assert "it is not a JSON object" in refused.output
    assert "SECRET" not in refused.output
    local = typed("verify-shards", "--shards", f"file://{far}", "--storage-options", json.dumps(options))
    assert local.exit_code == 0, local.output
    assert os.listdir(tmp_path) == ["far"]


def test_storage_options_stay_out_of_what_is_recorded() -> None:
    """A checkpoint keeps the command as typed; the options may hold keys."""

    @click.command(cls=Command)
    @click.option("--storage-options")
    def command(storage_options: str) -> None:
        click.echo(typed_command())

    for words in (["--storage-options", "SECRET"], ["--storage-options=SECRET"]):
        shown = CliRunner().invoke(command, words).stdout
        assert "SECRET" not in shown
        assert "--storage-options" in shown
