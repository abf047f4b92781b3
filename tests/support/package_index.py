"""A real package index over HTTP on this machine: PEP 503 pages and files of one project, and trouble on demand.

What it does not have (pip itself, a build backend) it sends on to the index the tests' machine really uses.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from liftlock.releases.sources import find_sources


@dataclass
class Served:
    """An index of `project` with the files that lie in `directory`.

    `fetched` counts whole files sent, `broken` names files that are cut off in the middle, and `down` lets every
    question end without an answer.
    """

    directory: Path
    project: str
    port: int = 0
    fetched: Counter[str] = field(default_factory=Counter)
    broken: set[str] = field(default_factory=set)
    down: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"


@contextmanager
def served(directory: Path, project: str) -> Iterator[Served]:
    """The index while it runs."""
    index = Served(directory, project)
    elsewhere = (find_sources().default or "https://pypi.org/simple").rstrip("/")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if index.down:
                self.connection.close()
                return
            kind, _, name = self.path.strip("/").partition("/")
            if kind == "simple" and name != index.project:
                self.send_response(302)
                self.send_header("Location", f"{elsewhere}/{name}/")
                self.end_headers()
            elif kind == "simple":
                links = "".join(
                    f'<a href="/files/{path.name}">{path.name}</a>\n' for path in sorted(directory.iterdir())
                )
                self._send(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html")
            elif (path := directory / name).is_file():
                self._send(path.read_bytes(), "application/octet-stream", cut=name in index.broken)
                if name not in index.broken:
                    index.fetched[name] += 1
            else:
                self.send_error(404)

        def _send(self, body: bytes, kind: str, *, cut: bool = False) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
