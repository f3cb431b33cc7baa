"""`benchmark remote`: its store answers as S3 does, and our side reads each byte of the split about once."""

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from benching import run
from test_compare import images  # noqa: F401  # a fixture

from freelight.benchmarks.remote import Store, serve_store

LATENCY, RATE = 30.0, 20.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, fsspec.AbstractFileSystem]]:
    folder = tmp_path_factory.mktemp("store")
    (folder / "bucket/a").mkdir(parents=True)
    (folder / "bucket/a/small").write_bytes(bytes(range(100)))
    (folder / "bucket/a/large").write_bytes(bytes(4_000_000))
    with serve_store(folder, LATENCY, RATE) as found:
        options = {"key": "any", "secret": "any", "endpoint_url": f"http://127.0.0.1:{found.port}"}
        yield found, fsspec.filesystem("s3", **options)


@pytest.mark.slow
def test_the_store_lists_describes_and_sends_ranges_and_counts_them(
    store: tuple[Store, fsspec.AbstractFileSystem],
) -> None:
    counted, files = store
    counted.counts()
    assert files.ls("bucket/a") == ["bucket/a/large", "bucket/a/small"]
    assert files.info("bucket/a/small")["size"] == 100
    assert not files.exists("bucket/a/other")
    assert files.cat_file("bucket/a/small", start=10, end=20) == bytes(range(10, 20))
    assert files.cat_file("bucket/a/small") == bytes(range(100))
    assert counted.counts() == {"requests": 2, "bytes": 110}
    assert counted.counts() == {"requests": 0, "bytes": 0}


@pytest.mark.slow
def test_the_store_waits_for_its_latency_and_sends_at_its_rate(
    store: tuple[Store, fsspec.AbstractFileSystem],
) -> None:
    """Never faster; how much slower depends on the machine."""
    found, _ = store
    assert found.get("/bucket/a/small", 0, 1) >= LATENCY / 1000
    assert found.get("/bucket/a/large", 0, 4_000_000) >= LATENCY / 1000 + 4_000_000 / (RATE * 1e6)


@pytest.mark.slow
def test_our_side_fetches_the_split_once_an_epoch_within_its_cache(images: Path, tmp_path: Path) -> None:  # noqa: F811
    record = tmp_path / "record.json"
    words = ("--copies", "4", "--batch-size", "8", "--rounds", "1", "--peers", tmp_path, "--record", record)
    done = run("remote", "--images", images, *words)
    assert done.returncode in (0, 1), done.stderr  # 1: a floor of speed was missed
    found = json.loads(record.read_text())
    assert {one["name"] for one in found["contenders"] if one["absent"] is None} == {"Freelight, local", "Freelight"}
    floors = {floor["name"]: floor for floor in found["floors"]}
    assert floors["bytes fetched / bytes of the split"]["value"] == pytest.approx(1.0, abs=0.02)
    assert floors["cache over its limit / largest shard"]["met"]
