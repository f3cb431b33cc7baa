"""A server that speaks the part of the Hugging Face Hub's HTTP API by which a dataset's files are found and read.

`python hub_server.py PORT FOLDER`: the files below FOLDER are those of the dataset repository `user/set`. It prints
"METHOD path" of each request to standard error.
"""

import hashlib
import http.server
import json
import re
import sys
import urllib.parse
from pathlib import Path
from typing import Any

REPOSITORY = "user/set"
COMMIT = hashlib.sha1(b"one commit", usedforsecurity=False).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers requests for the repository."""

    root: Path
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if re.fullmatch(f"/api/datasets/{REPOSITORY}(/revision/[^/]+)?", path):
            self.send_json({"id": REPOSITORY, "sha": COMMIT, "siblings": [], "private": False, "tags": []})
        elif found := re.fullmatch(f"/api/datasets/{REPOSITORY}/tree/[^/]+(/.*)?", path):
            folder = (found[1] or "").strip("/")
            self.send_json([self.info(item) for item in sorted((self.root / folder).iterdir())])
        elif found := re.fullmatch(f"/datasets/{REPOSITORY}/resolve/[^/]+/(.*)", path):
            self.send_file(self.root / found[1])
        else:
            self.send_json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        wanted = json.loads(body)["paths"] if body.startswith("{") else urllib.parse.parse_qs(body)["paths"]
        found = [self.root / path for path in wanted]
        self.send_json([self.info(path) for path in found if path.exists()])

    def info(self, path: Path) -> dict[str, Any]:
        name = path.relative_to(self.root).as_posix()
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": COMMIT}
        oid = hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
        return {"type": "file", "path": name, "oid": oid, "size": path.stat().st_size}

    def send_file(self, path: Path) -> None:
        if not path.is_file():
            self.send_json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        data, code, headers = path.read_bytes(), 200, {}
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data, code = data[first : last + 1], 206
        etag = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        self.answer(data, code, {**headers, "ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})

    def send_json(self, content: Any, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.answer(json.dumps(content).encode(), code, {"Content-Type": "application/json", **(headers or {})})

    def answer(self, data: bytes, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        print(self.command, self.path, file=sys.stderr, flush=True)


if __name__ == "__main__":
    Hub.root = Path(sys.argv[2])
    with http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hub) as server:
        server.serve_forever()
