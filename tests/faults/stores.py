"""An object store in a process of its own, behind a proxy in another that fails as a test says, or dies."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

PROXY = Path(__file__).with_name("faulty_proxy.py")
MOTO = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}")
ROOM = "http://127.0.0.1:{port}/bucket"


def free_port() -> int:
    """Return a port of loopback that nothing listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def serve(port: int, *words: str) -> subprocess.Popen[bytes]:
    """Start a server, and return when it listens to `port`."""
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert server.poll() is None, f"{words} ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.02)
    raise AssertionError(f"{words} does not listen")


def find_rclone() -> str | None:
    """Return the path of an rclone that serves S3, beside Python or on the path; None if there is none."""
    found = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        return None
    told = subprocess.run([found, "serve", "s3", "--help"], capture_output=True, text=True, check=False)
    return found if "rclone serve s3 " in told.stdout else None


class Objects:
    """An S3-compatible server with one bucket, `bucket`, as its owner sees it: without faults.

    command: the server's, with `{port}` in the place of its port.
    """

    def __init__(self, command: Sequence[str] = MOTO) -> None:
        self.port = free_port()
        self._server = serve(self.port, *(word.format(port=self.port) for word in command))
        self._ask("PUT", "")

    def put(self, folder: Path, prefix: str) -> None:
        """Copy the files of a folder to `s3://bucket/prefix`."""
        for path in folder.iterdir():
            self._ask("PUT", f"/{prefix}/{path.name}", path.read_bytes())

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects below a prefix, without it."""
        listing = self._ask("GET", f"?list-type=2&prefix={prefix}/").decode()
        return re.findall(rf"<Key>{prefix}/(.*?)</Key>", listing)

    def get(self, prefix: str) -> dict[str, bytes]:
        """Return the objects below a prefix, by their name after it."""
        return {name: self._ask("GET", f"/{prefix}/{name}") for name in self.names(prefix)}

    def close(self) -> None:
        """End the server; its objects are gone."""
        self._server.kill()
        self._server.wait()

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        # The server looks at who asks, but at no signature.
        who = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request"
        headers = {"Content-Type": "application/octet-stream", "Authorization": who}
        request = urllib.request.Request(ROOM.format(port=self.port) + path, body, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as response:
            content: bytes = response.read()
            return content


class FaultyStore:
    """What commands see of `objects`: a proxy that fails as planned, and that can die and come back."""

    def __init__(self, objects: Objects, folder: Path) -> None:
        self.objects, self.folder = objects, folder
        folder.mkdir()
        self.port = free_port()
        self.start()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",  # the client's own tries would take minutes
        }

    def plan(self, kind: str, match: str, *, times: int | None = None) -> None:
        """Fail requests whose "METHOD /path" matches: so many `times` for each path, or for ever."""
        planned = self.folder / "plan.json.new"
        planned.write_text(json.dumps({"kind": kind, "match": match, "times": times}))
        planned.rename(self.folder / "plan.json")

    def plan_every(self, match: str, **every: int) -> None:
        """Fail every nth request whose "METHOD /path" matches, by kind: `cut=50` (of GETs), or `http503=20`."""
        kinds = {kind.removeprefix("http"): number for kind, number in every.items()}
        planned = self.folder / "plan.json.new"
        planned.write_text(json.dumps({"match": match, "every": kinds}))
        planned.rename(self.folder / "plan.json")

    def behave(self) -> None:
        """Fail no more."""
        (self.folder / "plan.json").unlink(missing_ok=True)

    @property
    def faults(self) -> list[str]:
        """What was failed so far: lines of kind, method and path."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def served(self, match: str) -> tuple[int, int]:
        """Return how many GETs of paths that match were answered without a fault, and their bytes."""
        log = self.folder / "served"
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        sizes = [int(size) for path, size, failed in lines if re.search(match, path) and failed == "0"]
        return len(sizes), sum(sizes)

    def start(self) -> None:
        """Start, or come back."""
        words = [sys.executable, str(PROXY), str(self.port), str(self.objects.port), str(self.folder)]
        self._proxy = serve(self.port, *words)

    def die(self) -> None:
        """Close all connections, and accept no more."""
        self._proxy.kill()
        self._proxy.wait()
