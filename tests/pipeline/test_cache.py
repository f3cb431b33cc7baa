"""A dataset behind a URL, served by an S3-compatible server on loopback: copied, verified, limited, and resumable."""

import contextlib
import functools
import hashlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from disks import file_limit
from moto.server import ThreadedMotoServer

from freelight.pipeline import Lighting, Loader, Transform
from freelight.shards import Dataset, FreelightError, Statistics
from freelight.shards.base import UnavailableError, store
from freelight.shards.dataset import ahead, cache

pytestmark = [
    # Third parties': datetime.utcnow in botocore, sessions that s3fs closes at exit.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PIXELS = Transform(dtype="uint8", mean="none", lighting=Lighting(mode="off"))


class Server:
    """An S3-compatible server on loopback that keeps its objects when it is stopped and started again."""

    def __init__(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        self.port = self.server.get_host_and_port()[1]

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()


@pytest.fixture
def server(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    environment = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    for key, value in {**environment, "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(key, value)
    server = Server()
    endpoint = f"http://127.0.0.1:{server.port}"
    monkeypatch.setitem(
        fsspec.config.conf, "s3", {"endpoint_url": endpoint, "config_kwargs": {"retries": {"max_attempts": 0}}}
    )
    monkeypatch.setattr(store, "PAUSES", (0.05, 0.05))
    s3 = fsspec.filesystem("s3", skip_instance_cache=True)
    if not s3.exists("bucket"):  # the server keeps its objects for as long as this process lives
        s3.mkdir("bucket")
    for path in dataset.folder.iterdir():
        if path.is_file():
            s3.put_file(str(path), f"bucket/set/{path.name}")
    yield server
    server.stop()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the package has logged; the server logs too."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("freelight")]


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("freelight")]


def pixels(dataset: Dataset, **options: object) -> dict[int, bytes]:
    """Return an epoch's pixels by sample."""
    loader = Loader(dataset, "train", batch_size=7, transform=PIXELS, extras=("samples",), **options)  # type: ignore[arg-type]
    found = {}
    for batch in loader:
        for sample, image in zip(batch.samples.tolist(), batch.images.numpy(), strict=True):
            found[sample] = image.tobytes()
    return found


def test_a_full_epoch_through_the_cache_has_the_local_pixels(server: Server, dataset: Dataset, tmp_path: Path) -> None:
    far = Dataset("s3://bucket/set", cache=tmp_path)
    assert far.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(Statistics.load(far.folder).mean_image, Statistics.load(dataset.folder).mean_image)
    assert pixels(far) == pixels(dataset)
    shards = {shard.name for shard in dataset.manifest.splits["train"].shards}
    assert {path.name for path in far.folder.glob("*.tar")} == shards
    deadline = time.monotonic() + 2  # threads of a collected loader are told to end, not awaited
    while our_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert our_threads() == []


def test_the_cache_stays_bounded_in_sequential_order(server: Server, dataset: Dataset, tmp_path: Path) -> None:
    shards = dataset.manifest.splits["train"].shards
    limit = 2 * max(shard.bytes for shard in shards)
    far = Dataset("s3://bucket/set", cache=tmp_path, cache_bytes=limit)
    assert pixels(far, order="sequential") == pixels(dataset, order="sequential")
    assert len(list(far.folder.glob("*.tar"))) < len(shards)
    with pytest.raises(FreelightError, match=r"a global order .* give cache_bytes=\d+, or order='windowed'"):
        Loader(far, "train", batch_size=7, transform=PIXELS)


def test_a_shard_that_is_not_the_manifests_is_refused(server: Server, dataset: Dataset, tmp_path: Path) -> None:
    name = dataset.manifest.splits["train"].shards[0].name
    damaged = bytearray((dataset.folder / name).read_bytes())
    damaged[2000] ^= 1
    fsspec.filesystem("s3").pipe_file(f"bucket/set/{name}", bytes(damaged))
    with pytest.raises(FreelightError, match=rf"s3://bucket/set/{name} is not what the manifest says"):
        pixels(Dataset("s3://bucket/set", cache=tmp_path), order="sequential")
    assert not list(tmp_path.rglob(f"{name}*.tmp"))


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_copy_of_a_shard_is_fetched_again_and_said(
    damage: str, server: Server, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    far = Dataset("s3://bucket/set", cache=tmp_path)
    assert pixels(far) == pixels(dataset)
    copy = min(far.folder.glob("train-*.tar"))
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    assert pixels(Dataset("s3://bucket/set", cache=tmp_path)) == pixels(dataset)
    assert warnings(caplog) == [f"{copy} is damaged; it is fetched again from s3://bucket/set"]


@pytest.mark.parametrize("name", ["dataset.json", "train.samples.npy", "train.sources.txt", "train-000000.idx"])
def test_a_damaged_copy_of_another_file_is_fetched_again(
    name: str, server: Server, dataset: Dataset, tmp_path: Path
) -> None:
    split = Dataset("s3://bucket/set", cache=tmp_path).split("train")
    used = split.key(0), split.sources[0]  # an index, and the list of sources, are fetched when they are needed
    copy = split.folder / name
    copy.write_bytes(b"x" + copy.read_bytes()[1:])
    again = Dataset("s3://bucket/set", cache=tmp_path).split("train")
    assert (again.key(0), again.sources[0]) == used
    assert not (split.folder / "train-000001.idx").exists()
    assert copy.read_bytes() == (dataset.folder / name).read_bytes()


def test_a_copy_that_stays_damaged_is_named_with_its_origin(server: Server, dataset: Dataset, tmp_path: Path) -> None:
    """The server's shard is what its manifest says, but not what its table of samples says."""
    manifest = json.loads((dataset.folder / "dataset.json").read_text())
    shard = manifest["splits"]["train"]["shards"][0]
    content = bytearray((dataset.folder / shard["name"]).read_bytes())
    content[2000] ^= 1
    shard["sha256"] = hashlib.sha256(content).hexdigest()
    s3 = fsspec.filesystem("s3", skip_instance_cache=True)
    for path in dataset.folder.iterdir():
        if path.is_file():
            s3.put_file(str(path), f"bucket/other/{path.name}")
    s3.pipe_file(f"bucket/other/{shard['name']}", bytes(content))
    s3.pipe_file("bucket/other/dataset.json", json.dumps(manifest).encode())
    far = Dataset("s3://bucket/other", cache=tmp_path)
    again = rf"is changed \(crc32 differs\); it was fetched again: check the disk of the cache {far.folder}, or copy"
    with pytest.raises(FreelightError, match=rf"s3://bucket/other/{shard['name']}: sample train-00000001 .* {again}"):
        far.split("train").read(0)


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers with a code."""

    code = ""

    def do_GET(self) -> None:
        self.send_error(int(self.code))

    def log_message(self, *_: object) -> None:
        pass


class Endless(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; its shards never end, and have no declared length."""

    piece, pause = bytes(100_000), 0.0

    def do_HEAD(self) -> None:
        if not self.path.endswith(".tar"):
            super().do_HEAD()
            return
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        if not self.path.endswith(".tar"):
            super().do_GET()
            return
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(self.piece)
                time.sleep(self.pause)

    def log_message(self, *_: object) -> None:
        pass


def test_a_shard_that_never_ends_is_left_at_its_size(dataset: Dataset, tmp_path: Path) -> None:
    handler = functools.partial(Endless, directory=str(dataset.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with (
            file_limit(20_000_000),
            pytest.raises(FreelightError, match=rf"{url}/train-000000\.tar is not what"),
        ):
            Dataset(url, cache=tmp_path).split("train").read(0)
        server.shutdown()
    assert not list(tmp_path.rglob("train-*.tar*"))


class Trickling(Endless):
    """Serves a folder; its shards come byte by byte."""

    piece, pause = b"0", 0.02


def test_a_shard_that_trickles_is_said_and_then_given_up(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ahead, "SAY_AFTER", 0.1)
    handler = functools.partial(Trickling, directory=str(dataset.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        far = Dataset(url, cache=tmp_path, fetch_timeout=0.3)
        loader = Loader(far, "train", batch_size=7, transform=PIXELS, order="windowed")
        with pytest.raises(UnavailableError, match=rf"{url}/train-\d+\.tar cannot be read, after .*; check the server"):
            next(iter(loader))
        server.shutdown()
    waits = [line for line in warnings(caplog) if "the loader waits for it" in line]
    assert waits, "a slow store is said"
    assert f"{url}/train-" in waits[0]
    assert not list(tmp_path.rglob("train-*.tar*"))


def test_a_manifest_has_a_largest_size(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_JSON", 1000)
    with pytest.raises(FreelightError, match=r"dataset\.json has more than 1000 bytes"):
        Dataset("s3://bucket/set", cache=tmp_path)


def test_a_full_disk_of_the_cache_is_not_a_fault_of_the_server_nor_of_a_sample(
    server: Server, dataset: Dataset, tmp_path: Path
) -> None:
    far = Dataset("s3://bucket/set", cache=tmp_path)
    loader = Loader(far, "train", batch_size=7, transform=PIXELS, on_error="skip", max_skipped=100)
    full = rf"the cache of s3://bucket/set: {far.folder}/train-00000\d.tar cannot be written: the size limit of a file"
    with file_limit(100_000), pytest.raises(UnavailableError, match=full):
        next(iter(loader))
    assert not list(far.folder.glob("*.tmp"))


def test_a_dead_server_is_a_clear_error_after_retries_and_a_restart_goes_on(
    server: Server, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limit = 2 * max(shard.bytes for shard in dataset.manifest.splits["train"].shards)
    far = Dataset("s3://bucket/set", cache=tmp_path, cache_bytes=limit, fetch_timeout=1)
    loader = Loader(far, "train", batch_size=5, transform=PIXELS, order="sequential", extras=("samples",))
    seen: list[int] = []

    def go_on(*, stop_after: int) -> None:
        for batch in loader:
            seen.extend(batch.samples.tolist())
            if len(seen) == stop_after:
                server.stop()

    with pytest.raises(FreelightError, match=r"s3://bucket/set/train-\d+.tar cannot be read, after \d tries in \d s"):
        go_on(stop_after=5)
    assert "try 2 follows in" in warnings(caplog)[0], "each try is said"
    assert 0 < len(seen) < len(loader.split)
    server.start()
    loader.load_state_dict(loader.state_dict())
    go_on(stop_after=0)
    assert seen == list(range(len(loader.split))), "the restart continues after the last batch returned"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            "refuses",
            r"cannot be read, after 3 tries in 0 s \(Cannot connect to host 127\.0\.0\.1:\d+.*\); check the server",
        ),
        ("silent", r"cannot be read, after 3 tries in \d s \(.*[Tt]imeout.*\); check the server"),
        ("404", "is not a finished dataset"),
        ("500", r"cannot be read, after 3 tries in 0 s \(500, .*\); check the server"),
    ],
)
def test_a_failure_of_http_is_not_a_missing_file(
    fault: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec calls every failure one."""
    monkeypatch.setattr(store, "PAUSES", (0.05, 0.05))
    monkeypatch.setattr(store, "READ", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Code", (Answer,), {"code": fault})) as answering,
    ):
        threading.Thread(target=answering.serve_forever, daemon=True).start()
        with socket.create_server(("127.0.0.1", 0)) as closed:
            ports = {"refuses": closed.getsockname()[1], "silent": silent.getsockname()[1]}
        url = f"http://127.0.0.1:{ports.get(fault, answering.server_port)}/set"
        with pytest.raises(FreelightError, match=rf"{url}(/dataset\.json)? {text}"):
            Dataset(url, cache=tmp_path)
        answering.shutdown()


@pytest.mark.parametrize("name", ["../../escaped", "escaped"])
def test_a_remote_manifest_writes_nothing_outside_the_cache(
    name: str, server: Server, dataset: Dataset, tmp_path: Path
) -> None:
    """The server has a file of that name; an absolute path names a place outside too."""
    wanted = name if name.startswith("..") else str(tmp_path / name)
    manifest = json.loads((dataset.folder / "dataset.json").read_text())
    manifest["splits"]["train"]["files"][wanted] = hashlib.sha256(b"evil").hexdigest()
    s3 = fsspec.filesystem("s3", skip_instance_cache=True)
    for path in dataset.folder.iterdir():
        if path.is_file():
            s3.put_file(str(path), f"bucket/evil/{path.name}")
    s3.pipe_file("bucket/evil/dataset.json", json.dumps(manifest).encode())
    s3.pipe_file(f"bucket/evil/{wanted}", b"evil")
    before = {path for path in tmp_path.rglob("*") if path.name == "escaped"}
    with pytest.raises(FreelightError, match=r"split.*train.*escaped.* must be a name .* leading dot"):
        Dataset("s3://bucket/evil", cache=tmp_path / "cache" / "deep").split("train")
    assert {path for path in tmp_path.rglob("*") if path.name == "escaped"} == before == set()


def test_what_is_missing_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FreelightError, match=r"give `cache`, a local folder for its shards"):
        Dataset("s3://bucket/set")
    with pytest.raises(FreelightError, match=r"s3://bucket/none is not a finished dataset \(no dataset.json\)"):
        Dataset("s3://bucket/none", cache=tmp_path)
