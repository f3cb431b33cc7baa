"""A dataset at a URL equals the one in a folder, even if the run was killed in between."""

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from making import files

from freelight.demo.drawing import draw_pictures
from freelight.shards import FreelightError, Rescaling, ShardSettings, list_images, make_shards
from freelight.shards.base import hash_file

TOOL = Path(__file__).parents[2] / "tools" / "make_shards"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An S3 server on loopback with a bucket; the commands find it through the environment, as they find Amazon's."""
    pytest.importorskip("moto")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    snippet("fsspec.filesystem('s3').mkdir('bucket')")
    yield "s3://bucket/sets/dataset"
    server.kill()
    server.wait()


def snippet(code: str) -> str:
    """Run a line of fsspec in a separate process, because the S3 client's warnings are not ours."""
    done = subprocess.run([sys.executable, "-c", f"import fsspec; {code}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_dataset_in_an_object_store_is_that_in_a_folder(workers: str, store: str, tmp_path: Path) -> None:
    """After one kill, uploaded files are kept, and at the end only the dataset is left."""
    images = tmp_path / "pictures"
    draw_pictures(images, train_per_class=20, val_per_class=4)

    def make(out: str) -> list[str]:
        options = {"--images": images, "--out": out, "--size": 48, "--samples-per-shard": 8, "--workers": workers}
        return [sys.executable, str(TOOL), *(str(word) for option in options.items() for word in option)]

    subprocess.run(make(str(tmp_path / "local")), check=True, capture_output=True)
    job = subprocess.Popen(make(store), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    prefix = (
        f"{os.environ['AWS_ENDPOINT_URL']}/bucket?list-type=2&prefix={store.removeprefix('s3://bucket/')}/.partial/"
    )
    while urllib.request.urlopen(prefix).read().count(b".record</Key>") < 2:
        assert job.poll() is None, "the job ended before the kill"
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    for _ in range(2):  # the second time there is nothing to do
        done = subprocess.run(make(store), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert f"dataset {store}, labels sorted by class id" in done.stdout
    snippet(f"fsspec.filesystem('s3').get('{store}', '{tmp_path / 'fetched'}', recursive=True)")
    assert files(tmp_path / "fetched") == files(tmp_path / "local")
    other = subprocess.run([*make(store), "--quality", "90"], capture_output=True, text=True, check=False)
    assert other.returncode == 2
    assert f"error: {store} is a finished dataset with other settings" in other.stderr


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers every request with the same code, and no content."""

    code = 500

    def do_HEAD(self) -> None:
        self.send_response(self.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PUT = do_HEAD  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_a_large_file_goes_up_in_parts(store: str, tmp_path: Path) -> None:
    """S3 marks what was uploaded in parts by their number, behind a dash in the object's tag."""
    sizes = {"large.tar": (64 << 20) + 5, "small.tar": 63 << 20}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(os.urandom(1 << 20) * (size >> 20) + bytes(size % (1 << 20)))
    code = (
        "from pathlib import Path; from freelight.shards.writing.output import Output; "
        f"output = Output(Path({str(tmp_path)!r}), {store!r}); output.publish(*{list(sizes)}); "
        f"print(*(fsspec.filesystem('s3').info({store!r} + '/' + name)['ETag'] for name in {list(sizes)})); "
        f"print(*map(output.sha256, {list(sizes)}))"
    )
    tags, hashes = (line.split() for line in snippet(code).splitlines())
    assert [re.sub("[0-9a-f]{32}", "", tag) for tag in tags] == ['"-3"', '""']
    assert hashes == [hash_file(tmp_path / name) for name in sizes]


def made(pictures: Path, **environment: str) -> "subprocess.Popen[str]":
    words = [sys.executable, str(TOOL), "--images", str(pictures), "--out", "s3://bucket/set", "--size", "16"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FSSPEC_"))}
    usual = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}
    return subprocess.Popen(
        words, env={**inherited, **usual, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["no-credentials", "forbidden", "no-bucket"])
def test_what_waiting_does_not_mend_is_one_line_at_once(fault: str, store: str, pictures: Path) -> None:
    """Also a mistyped bucket: it is not created."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Forbidden", (Answer,), {"code": 403}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if fault == "no-bucket":
        snippet("fsspec.filesystem('s3').rmdir('bucket')")
    environments = {
        "no-credentials": {},
        "forbidden": {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"},
        "no-bucket": {**KEYS, "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]},
    }
    reasons = {
        "no-credentials": " (Unable to locate credentials); check the credentials and their rights",
        "forbidden": " (Forbidden); check the credentials and their rights",
        "no-bucket": ": there is no bucket 'bucket'; create it with the store's own tool, or correct the name",
    }
    done = made(pictures, **environments[fault])
    _, errors = done.communicate(timeout=60)
    server.shutdown()
    server.server_close()
    assert done.returncode == 2
    assert [line for line in errors.splitlines() if line != "images"] == [
        f"error: s3://bucket/set cannot be written{reasons[fault]}"
    ]
    if fault == "no-bucket":
        assert snippet("print(fsspec.filesystem('s3').ls(''))") == "[]\n"


@pytest.mark.slow
def test_a_server_that_does_not_serve_is_tried_four_times_which_is_said(pictures: Path) -> None:
    """It refuses connections, answers 500, or never answers. The configuration of fsspec shortens the last wait."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as failing,
    ):
        threading.Thread(target=failing.serve_forever, daemon=True).start()
        with socket.create_server(("127.0.0.1", 0)) as closed:
            dead = closed.getsockname()[1]
        ports = {"Could not connect": dead, "Internal Server": failing.server_port, "timeout": silent.getsockname()[1]}
        short = json.dumps({"config_kwargs": {"read_timeout": 1}})
        jobs = {
            reason: made(pictures, **KEYS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}", FSSPEC_S3=short)
            for reason, port in ports.items()
        }
        for reason, job in jobs.items():
            _, errors = job.communicate(timeout=120)
            assert job.returncode == 2
            lines = errors.splitlines()
            head = "s3://bucket/set cannot be written"
            for number, pause in enumerate((1, 4, 10)):
                said = rf"{head} \(.*{reason}.*\); try {number + 2} follows in {pause} s"
                assert re.fullmatch(said, lines[number]), errors
            assert re.fullmatch(
                rf"error: {head}, after 4 tries in \d\d s \(.*{reason}.*\); "
                "check the server and its address, then run the same command again",
                lines[3],
            ), errors
            assert len(lines) == 4
        failing.shutdown()


def test_any_file_system_of_fsspec_will_do(pictures: Path, tmp_path: Path) -> None:
    settings = ShardSettings(rescaling=Rescaling(size=16), samples_per_shard=16)
    make_shards(list_images(pictures), tmp_path / "one", settings)
    make_shards(list_images(pictures), f"file://{tmp_path}/other", settings)
    assert files(tmp_path / "one") == files(tmp_path / "other")


def test_a_url_that_holds_something_else_or_means_nothing_is_refused(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("do not lose me")
    with pytest.raises(FreelightError, match="is not empty and was not started by make_shards"):
        make_shards(list_images(pictures), f"file://{tmp_path}/other", ShardSettings())
    with pytest.raises(FreelightError, match=r"nonsense://x cannot be written"):
        make_shards(list_images(pictures), "nonsense://x", ShardSettings())


def test_no_name_that_a_store_lists_leaves_the_folder(pictures: Path, tmp_path: Path) -> None:
    """An object store allows any key, and a stranger may have put one there."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.pipe("/set/.partial/plan.json", b"{}")
    memory.pipe("/set/.partial/" + "../" * 9 + f"{tmp_path}/outside", b"hostile")
    with pytest.raises(FreelightError, match="started with other settings"):
        make_shards(list_images(pictures), "memory://set", ShardSettings())
    memory.store.clear()
    assert not (tmp_path / "outside").exists()


def test_an_unfinished_datasets_files_in_a_store_have_a_limit(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "set/.partial").mkdir(parents=True)
    (tmp_path / "set/.partial/plan.json").write_bytes(b"")
    os.truncate(tmp_path / "set/.partial/plan.json", 1 << 27)
    with pytest.raises(FreelightError, match=r"plan\.json has more than 67108864 bytes, .*; delete it$"):
        make_shards(list_images(pictures), f"file://{tmp_path}/set", ShardSettings())
