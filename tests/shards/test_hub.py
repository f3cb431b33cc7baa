"""A dataset on the Hugging Face Hub, `hf://datasets/...`: read from a server in a process of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture
def hub(small: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a hub whose repository `user/set` holds the small dataset, and the file of its requests."""
    pytest.importorskip("huggingface_hub", reason="install it with: pip install 'freelight[huggingface_hub]'")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = tmp_path / "requests"
    with log.open("wb") as requests:
        server = subprocess.Popen(
            [sys.executable, str(TESTS / "hub_server.py"), str(port), str(small)], stderr=requests
        )
    try:
        while not listens(port):
            assert server.poll() is None
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", log
    finally:
        server.kill()
        server.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def typed(tmp_path: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    home = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
    words = (sys.executable, "-m", "freelight", *words)
    return subprocess.run(words, env={**os.environ, **home, **environment}, capture_output=True, text=True, check=False)


def test_a_dataset_on_the_hub_is_verified_by_one_pass_over_its_shards(
    hub: tuple[str, Path], small: Path, tmp_path: Path
) -> None:
    address, log = hub
    url = "hf://datasets/user/set"
    options = ("--storage-options", json.dumps({"endpoint": address}))
    done = typed(tmp_path, "verify-shards", "--shards", url, *options, "--workers", "1", "--level", "decode")
    assert (done.returncode, done.stdout) == (0, f"{url}: every byte is as it was written\n"), done.stderr
    fetched = [line for line in log.read_text().splitlines() if line.startswith("GET") and line.endswith(".tar")]
    assert len(fetched) == len(set(fetched)) == len(list(small.glob("*.tar")))


def test_its_statistics_are_computed_and_what_is_missing_is_named(hub: tuple[str, Path], tmp_path: Path) -> None:
    """By the hub's own setting of the address. What cannot be written there is written to this machine."""
    address, _ = hub
    url, out = "hf://datasets/user/set", tmp_path / "train.npz"
    computed = typed(tmp_path, "compute-pca", "--shards", url, "--out", str(out), "--workers", "1", HF_ENDPOINT=address)
    assert computed.returncode == 0, computed.stderr
    assert out.is_file()
    missing = typed(
        tmp_path, "verify-shards", "--shards", "hf://datasets/user/other", "--workers", "1", HF_ENDPOINT=address
    )
    assert missing.returncode == 2
    assert "error: hf://datasets/user/other is not a finished dataset (no dataset.json)" in missing.stderr
