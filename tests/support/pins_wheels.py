"""A package index of tiny wheels of MLflow and what it needs, so that real resolvers run: a directory, or over HTTP."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.receivers import serving

WHEELS = (
    ("mlflow", "2.9.2", ("mlflow-skinny==2.9.2", "helper<2")),
    ("mlflow", "3.17.2", ("mlflow-skinny==3.17.2", "helper>=2")),
    ("mlflow", "3.18.0", ("mlflow-skinny==3.18.0", "helper>=2")),
    *(("mlflow-skinny", version, ()) for version in ("2.9.2", "3.17.2", "3.18.0")),
    *(("helper", version, ()) for version in ("1.0", "2.0")),
    *(("other", version, ()) for version in ("1.0", "2.0")),
)


def make(directory: Path) -> Path:
    """Write the wheels into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, version, needs in WHEELS:
        plain = name.replace("-", "_")
        info = f"{plain}-{version}.dist-info"
        requires = "".join(f"Requires-Dist: {each}\n" for each in needs)
        with zipfile.ZipFile(directory / f"{plain}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{plain}/__init__.py", "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
    return directory


class Index:
    """A simple index (PEP 503) on a free port. `old` hides what came after MLflow 2.9.2."""

    def __init__(self, wheels: Path) -> None:
        self.wheels = wheels
        self.old = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def page(self, project: str) -> bytes | None:
        files = [
            each
            for each in sorted(self.wheels.iterdir())
            if re.sub(r"[-_.]+", "-", each.name.partition("-")[0]) == project
            and not (self.old and re.search(r"-(?:3\.1[78]|2\.0)", each.name))
        ]
        links = [
            f'<a href="/files/{each.name}#sha256={hashlib.sha256(each.read_bytes()).hexdigest()}">{each.name}</a>'
            for each in files
        ]
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode() if files else None


@contextmanager
def index(directory: Path) -> Iterator[Index]:
    made = Index(make(directory))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/").rpartition("/")[2]
            if self.path.startswith("/files/"):
                found = made.wheels / name
                self.answer(found.read_bytes() if found.is_file() else None, "application/octet-stream")
            else:
                self.answer(made.page(name), "text/html")

        def do_HEAD(self) -> None:
            self.do_GET()

        def answer(self, body: bytes | None, kind: str) -> None:
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    with serving(server):
        yield made
