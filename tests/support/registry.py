"""A registry on a free port: a real HTTP server that speaks the distribution API for one image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.receivers import serving

INDEX = b'{"schemaVersion": 2, "manifests": []}'
NEW = f"sha256:{hashlib.sha256(INDEX).hexdigest()}"
OLD = f"sha256:{'a' * 64}"


@dataclass
class Fake:
    """`token` None: everybody may look at once. `tags` are those of team/mlflow."""

    port: int = 0
    tags: tuple[str, ...] = ("v3.17.2",)
    token: str | None = "t"
    said: str = NEW
    status: int = 200
    login: str = ""
    basic: bool = False
    scopes: list[str] = field(default_factory=list)


@contextmanager
def registry() -> Iterator[Fake]:
    made = Fake()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/token"):
                made.scopes.append(self.path)
                if made.login and self.headers.get("Authorization") != made.login:
                    return self.answer(401, b"{}")
                return self.answer(200, json.dumps({"token": made.token}).encode())
            if made.basic and self.headers.get("Authorization") != made.login:
                return self.answer(401, b"{}", {"WWW-Authenticate": 'Basic realm="r"'})
            if made.token and not made.basic and self.headers.get("Authorization") != f"Bearer {made.token}":
                realm = f'Bearer realm="http://127.0.0.1:{made.port}/token",service="s"'
                return self.answer(401, b"{}", {"WWW-Authenticate": realm})
            name, _, tag = self.path.removeprefix("/v2/").rpartition("/manifests/")
            if name != "team/mlflow" or tag not in made.tags:
                return self.answer(404, b"{}")
            assert "image.index" in self.headers["Accept"]
            return self.answer(made.status, INDEX, {"Docker-Content-Digest": made.said})

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    with serving(server):
        yield made
