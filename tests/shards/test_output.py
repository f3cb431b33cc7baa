"""A dataset at a URL equals the one in a folder, even if the run was killed in between."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from making import files

from freelight.demo.drawing import draw_pictures
from freelight.shards import FreelightError, Rescaling, ShardSettings, list_images, make_shards

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
    while int(snippet(f"print(len(fsspec.filesystem('s3').glob('{store}/.partial/*.record')))")) < 2:
        assert job.poll() is None, "the job ended before the kill"
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    for _ in range(2):  # the second time there is nothing to do
        done = subprocess.run(make(store), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert f"dataset {store}, labels in wnid order" in done.stdout
    snippet(f"fsspec.filesystem('s3').get('{store}', '{tmp_path / 'fetched'}', recursive=True)")
    assert files(tmp_path / "fetched") == files(tmp_path / "local")
    other = subprocess.run([*make(store), "--quality", "90"], capture_output=True, text=True, check=False)
    assert other.returncode == 2
    assert f"error: {store} is a finished dataset with other settings" in other.stderr


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
    with pytest.raises(FreelightError, match=r"`out` nonsense://x cannot be written"):
        make_shards(list_images(pictures), "nonsense://x", ShardSettings())
