"""A proxy before an object store that fails as it is told: `faulty_proxy.py PORT UPSTREAM_PORT FOLDER`.

It reads FOLDER/plan.json at each request: {"kind": ..., "match": regular expression of "METHOD /path", "times": per
path, or null for ever}; or {"match": ..., "every": {kind: n}}, which fails every nth request, or every nth GET where
the body is spoiled; without that file it only forwards. Each fault is a line of FOLDER/log, each answer to a GET one of
FOLDER/served: its path and bytes, and whether it was failed.
"""

import http.client
import json
import re
import sys
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

MESSAGES = {403: "AccessDenied", 500: "InternalError", 501: "NotImplemented", 503: "SlowDown"}
PAGE = b"<html><body>Please log in to the network.</body></html>"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class Proxy(ThreadingHTTPServer):
    """The server. Threads of open connections do not keep it alive."""

    daemon_threads = True

    def __init__(self, port: int, upstream: int, folder: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.upstream, self.folder = upstream, folder
        self.done: Counter[tuple[str, str]] = Counter()
        self.lock = Lock()

    def fault(self, request: str) -> str | None:
        """Return the fault for a request, and log it."""
        try:
            plan = json.loads((self.folder / "plan.json").read_text())
        except FileNotFoundError:
            return None
        with self.lock:
            if "every" in plan:
                return self.regular_fault(plan, request)
            kind, times = str(plan["kind"]), plan["times"]
            if not re.search(plan["match"], request) or (times is not None and self.done[kind, request] >= times):
                return None
            self.done[kind, request] += 1
            self.log("log", f"{kind} {request}")
        return kind

    def regular_fault(self, plan: dict[str, Any], request: str) -> str | None:
        """Return the fault for a request of a plan with `every`, and log it."""
        if not re.search(plan["match"], request):
            return None
        for kind, every in plan["every"].items():
            if not kind.isdigit() and not request.startswith("GET"):
                continue  # no body to spoil
            self.done[kind, ""] += 1
            if self.done[kind, ""] % every == every // 2:
                self.log("log", f"{kind} {request}")
                return str(kind)
        return None

    def log(self, name: str, line: str) -> None:
        """Add a line to a file of the folder."""
        with (self.folder / name).open("a") as file:
            file.write(f"{line}\n")


class Handler(BaseHTTPRequestHandler):
    """Forwards one request, or fails it."""

    server: Proxy
    protocol_version = "HTTP/1.1"

    def forward(self) -> None:
        """Answer the request."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.server.fault(f"{self.command} {self.path.partition('?')[0]}")
        if kind is not None and kind.isdigit():
            text = f"<Error><Code>{MESSAGES[int(kind)]}</Code><Message>as told</Message></Error>".encode()
            self.answer(int(kind), [("Content-Type", "application/xml")], b"" if self.command == "HEAD" else text)
            return
        if kind == "reset":
            self.close_connection = True
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        kept = [(name, value) for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP]
        if self.command == "HEAD":
            self.send_response(response.status)
            for name, value in [*kept, ("Content-Length", response.getheader("Content-Length", "0"))]:
                self.send_header(name, value)
            self.end_headers()
            return
        with self.server.lock:
            if self.command == "GET":
                self.server.log("served", f"{self.path.partition('?')[0]} {len(content)} {int(kind is not None)}")
        self.answer(response.status, kept, content, kind)
        connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815

    def answer(self, status: int, headers: list[tuple[str, str]], content: bytes, kind: str | None = None) -> None:
        """Send a response, spoiled as `kind` says."""
        if kind == "short":
            content = content[: len(content) // 2]
        elif kind == "flipped":
            content = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:] if len(content) > 9 else content
        elif kind == "page":
            content = PAGE
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if kind == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif kind == "trickles":
            for place in range(len(content)):
                self.wfile.write(content[place : place + 1])
                self.wfile.flush()
                time.sleep(1)
        elif kind == "slow":
            for place in range(0, len(content), 1 + len(content) // 8):
                self.wfile.write(content[place : place + 1 + len(content) // 8])
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing on stderr."""


if __name__ == "__main__":
    Proxy(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])).serve_forever()
