"""An S3 server of a given latency and rate, for `benchmark remote`: FOLDER LATENCY_MS MEGABYTES_PER_SECOND.

It prints its port and serves the files of FOLDER/BUCKET as s3://BUCKET: GET with ranges, HEAD and lists, for any
credentials. Each request waits for the latency first; each connection sends at the rate. `GET /-/counts` returns
the requests and bytes of objects since it was last asked.
"""

import http.server
import json
import re
import socketserver
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from typing import ClassVar
from xml.sax.saxutils import escape

CHUNK = 1 << 18
"""Bytes after which a connection's rate is kept."""


class Store(http.server.BaseHTTPRequestHandler):
    """Answers requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    root: Path
    latency: float
    rate: float
    counts: ClassVar = {"requests": 0, "bytes": 0}
    lock = threading.Lock()

    def do_HEAD(self) -> None:
        """Answer as GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Send an object, a range of it, a list, or the counts."""
        path, _, query = self.path.partition("?")
        if path == "/-/counts":
            with self.lock:
                body = json.dumps(self.counts).encode()
                self.counts.update(requests=0, bytes=0)
            self._send(200, body)
            return
        time.sleep(self.latency)
        words = urllib.parse.parse_qs(query, keep_blank_values=True)
        file = self.root / urllib.parse.unquote(path).lstrip("/")
        if file.is_file():
            self._send_object(file)
        elif file.parent == self.root and file.is_dir():
            self._send(200, self._list(file, words.get("prefix", [""])[0], words.get("delimiter", [""])[0]))
        else:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _list(self, bucket: Path, prefix: str, delimiter: str) -> bytes:
        entries, folders = [], set()
        for file in sorted(path for path in bucket.rglob("*") if path.is_file()):
            key = file.relative_to(bucket).as_posix()
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in key[len(prefix) :]:
                folders.add(prefix + key[len(prefix) :].split(delimiter)[0] + delimiter)
            else:
                entries.append(
                    f"<Contents><Key>{escape(key)}</Key><Size>{file.stat().st_size}</Size><ETag>x</ETag>"
                    "<LastModified>2020-01-01T00:00:00Z</LastModified></Contents>"
                )
        shared = (f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in sorted(folders))
        text = "".join([*entries, *shared])
        head = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>'
        return f"{head}<KeyCount>{len(entries) + len(folders)}</KeyCount>{text}</ListBucketResult>".encode()

    def _send_object(self, file: Path) -> None:
        size = file.stat().st_size
        first, last, code = 0, size - 1, 200
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last, code = int(found[1]), min(int(found[2] or last), last), 206
        self.send_response(code)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")
        self.send_header("ETag", '"x"')
        self.send_header("Accept-Ranges", "bytes")
        if code == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if self.command == "HEAD":
            return
        with self.lock:
            self.counts["requests"] += 1
            self.counts["bytes"] += last - first + 1
        begin, sent = time.monotonic(), 0
        with file.open("rb") as opened:
            while sent < last - first + 1:
                count = min(CHUNK, last - first + 1 - sent)
                time.sleep(max(0.0, begin + (sent + count) / self.rate - time.monotonic()))
                self.connection.sendfile(opened, first + sent, count)
                sent += count

    def _send(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/xml")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Answers each connection in a thread."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Print nothing: clients end in the middle of an answer."""


def main() -> None:
    """Serve until the process is killed."""
    folder, latency, rate = sys.argv[1:]
    Store.root, Store.latency, Store.rate = Path(folder), float(latency) / 1000, float(rate) * 1e6
    with Server(("127.0.0.1", 0), Store) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
