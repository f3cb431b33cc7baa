"""Indexed tars behind a URL: over HTTP and in an S3-compatible store, read through the cache, and verified there."""

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner
from foreign_tars import sample, write_tars
from moto.server import ThreadedMotoServer

from freelight.commands.compute_pca import command as compute_pca
from freelight.pipeline import Lighting, Loader, RandomCrop, Transform
from freelight.shards import Dataset, FreelightError, index_shards, list_tars, verify_dataset

pytestmark = [
    # Third parties': datetime.utcnow in botocore, sessions that s3fs closes at exit.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SMALL = Transform(crop=RandomCrop(size=96), mean="none", lighting=Lighting(mode="off"), dtype="uint8")
TRAIN, VAL = "imagenet1k-train-{0000..0002}.tar", "imagenet1k-validation-{0000..0002}.tar"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(foreign_tars: Path) -> Iterator[str]:
    """The URL of `foreign_tars`, over HTTP."""
    handler = functools.partial(Quiet, directory=str(foreign_tars))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def store(foreign_tars: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of `foreign_tars` in an S3-compatible store."""
    environment = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    for key, value in {**environment, "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(key, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": endpoint})
    s3 = fsspec.filesystem("s3", skip_instance_cache=True)
    if not s3.exists("tars"):
        s3.mkdir("tars")
    for path in foreign_tars.iterdir():
        s3.put_file(str(path), f"tars/set/{path.name}")
    yield "s3://tars/set"
    server.stop()


def pixels(dataset: Dataset) -> dict[int, bytes]:
    """Return an epoch's pixels by sample."""
    loader = Loader(dataset, "train", batch_size=7, transform=SMALL, extras=("samples",))
    return {
        sample: image.tobytes()
        for batch in loader
        for sample, image in zip(batch.samples.tolist(), batch.images.numpy(), strict=True)
    }


@pytest.mark.parametrize("place", ["web", "store"])
def test_tars_behind_a_url_give_the_pixels_of_local_ones(
    place: str, indexed: Dataset, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(place)
    out = tmp_path / "out"
    val = VAL if place == "web" else "imagenet1k-validation-*.tar"  # HTTP has no listing of its own
    made = index_shards(list_tars([f"train={url}/{TRAIN}", f"validation={url}/{val}"]), out)
    assert made.fingerprint == indexed.fingerprint
    assert (made.splits["val"].base, made.splits["val"].shards[1].name) == (url, "imagenet1k-validation-0001.tar")
    assert not list(out.glob("*.tar"))
    far = Dataset(out, cache=tmp_path / "cache")
    assert pixels(far) == pixels(indexed)
    assert [far.split("val").key(index) for index in range(9)] == [indexed.split("val").key(i) for i in range(9)]
    assert verify_dataset(out, level="decode") == []
    with pytest.raises(FreelightError, match=rf"the tars of train lie at {url}; give `cache`, a local folder"):
        Loader(Dataset(out), "train", batch_size=7, transform=SMALL)


def test_a_server_that_serves_no_parts_of_files_will_do(tmp_path: Path) -> None:
    """Python's own serves a file whole; fsspec asks for parts of files over 5 MB."""
    members = sample(0)
    members.append((members[0][0].replace(".jpg", ".bin"), bytes(6_000_000)))
    (tar,) = write_tars(tmp_path / "tars", "t", [members, sample(1)], 2)
    handler = functools.partial(Quiet, directory=str(tar.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        index_shards(list_tars([f"train={url}/{tar.name}"]), tmp_path / "out")
        assert Dataset(tmp_path / "out", cache=tmp_path / "cache").split("train").read(1) == sample(1)[0][1]
        assert verify_dataset(tmp_path / "out", level="crc") == []
        server.shutdown()


def test_the_command_of_the_statistics_streams_or_takes_a_cache(web: str, indexed: Dataset, tmp_path: Path) -> None:
    index_shards(list_tars([f"train={web}/{TRAIN}"]), tmp_path / "out")
    streamed = CliRunner().invoke(compute_pca, ["--shards", str(tmp_path / "out")])
    assert streamed.exit_code == 0, streamed.output
    (tmp_path / "out" / "statistics.npz").unlink()
    done = CliRunner().invoke(compute_pca, ["--shards", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")])
    assert done.exit_code == 0, done.output


def test_a_remote_manifest_may_not_point_elsewhere(web: str, foreign_tars: Path, tmp_path: Path) -> None:
    index_shards(list_tars([f"train={web}/{TRAIN}"]), tmp_path / "out")
    handler = functools.partial(Quiet, directory=str(tmp_path / "out"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(FreelightError, match=r"'train' has its shards at another place .*; copy the shards beside"):
            Dataset(f"http://127.0.0.1:{server.server_port}", cache=tmp_path / "cache")
        server.shutdown()


def test_a_tar_that_is_missing_or_changed_behind_the_url_is_named(web: str, foreign_tars: Path, tmp_path: Path) -> None:
    with pytest.raises(FreelightError, match=rf"{web}/none.tar is missing; correct `splits`"):
        index_shards(list_tars([f"train={web}/none.tar"]), tmp_path / "none")
    out = tmp_path / "out"
    index_shards(list_tars([f"train={web}/imagenet1k-train-0000.tar"]), out)
    manifest = json.loads((out / "dataset.json").read_text())
    manifest["splits"]["train"]["shards"][0]["sha256"] = "0" * 64  # as if the tar had changed since
    (out / "dataset.json").write_text(json.dumps(manifest))
    with pytest.raises(
        FreelightError, match=rf"{web}/imagenet1k-train-0000.tar is not what .*; put it back there, or index"
    ):
        Dataset(out, cache=tmp_path / "cache").split("train").read(0)
    assert [line for line in verify_dataset(out) if "train-0000" in line] == [
        f"{web}/imagenet1k-train-0000.tar was changed around its pictures since it was indexed; put the original back, "
        "or index again"
    ]


@pytest.mark.parametrize(
    "base", ["http://h/a?token=x", "/etc", "a::s3://b", "http://h/a/", "file:// /x", "x" * 3000, 7]
)
def test_a_base_is_a_plain_url(base: Any, indexed: Dataset, tmp_path: Path) -> None:
    content = json.loads((indexed.folder / "dataset.json").read_text())
    content["splits"]["train"]["base"] = base
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(FreelightError, match=r"splits.train.base \(=.*must be a URL of a folder"):
        Dataset(tmp_path)
