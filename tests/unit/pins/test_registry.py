"""Registries: a real HTTP server that speaks the distribution API is asked for tags and digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from liftlock.cli.pin import command
from liftlock.errors import LiftlockError
from liftlock.pins.model import BadFile
from liftlock.pins.registry import Reference, RegistryUnknown, digest
from tests.support.pins_tree import contents, write
from tests.support.receivers import serving
from tests.support.servers import free_port

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
    scopes: list[str] = field(default_factory=list)


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/token"):
                made.scopes.append(self.path)
                return self.answer(200, json.dumps({"token": made.token}).encode())
            if made.token and self.headers.get("Authorization") != f"Bearer {made.token}":
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


def reference(fake: Fake, tag: str = "v3.17.2") -> Reference:
    found = Reference.parse(f"127.0.0.1:{fake.port}/team/mlflow:{tag}")
    assert found is not None
    return found


def test_a_tag_and_its_digest(fake: Fake) -> None:
    assert digest(reference(fake)) == NEW
    assert "scope=repository%3Ateam%2Fmlflow%3Apull" in fake.scopes[0] and "service=s" in fake.scopes[0]
    assert digest(reference(fake, "v9.9.9")) is None
    fake.token = None
    assert digest(reference(fake)) == NEW


def test_what_cannot_be_told_is_refused(fake: Fake) -> None:
    fake.said = OLD
    with pytest.raises(RegistryUnknown, match="not the digest it names"):
        digest(reference(fake))
    fake.status = 403
    with pytest.raises(RegistryUnknown, match="answered 403"):
        digest(reference(fake))
    dead = Reference(f"127.0.0.1:{free_port()}", "team/mlflow", "v1")
    with pytest.raises(RegistryUnknown, match="does not answer"):
        digest(dead, timeout=2)


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("ghcr.io/mlflow/mlflow:v3.17.2", "https://ghcr.io/v2/mlflow/mlflow/manifests/v3.17.2"),
        ("host:5000/mlflow:3", "https://host:5000/v2/mlflow/manifests/3"),
        ("localhost:5000/a/mlflow:3@sha256:x", "http://localhost:5000/v2/a/mlflow/manifests/3"),
        ("mlflow/mlflow:v3", None),
        ("mlflow:v3", None),
        ("ghcr.io/mlflow/mlflow", None),
        ("$REGISTRY.io/mlflow:v3", None),
        ("ghcr.io/a b:v3", None),
    ],
)
def test_only_an_image_that_names_its_registry_is_asked_for(image: str, url: str | None) -> None:
    found = Reference.parse(image)
    assert (found.url if found else None) == url


def test_pin_asks_before_it_writes(fake: Fake, tmp_path: Path) -> None:
    """A digest is taken from the registry; an image that is not there stops everything, with its place."""
    write(tmp_path, ())
    name = f"127.0.0.1:{fake.port}/team/mlflow"
    (tmp_path / "Dockerfile").write_text(f"# base\nFROM {name}:v2.9.2@{OLD}\n")
    (tmp_path / "compose.yaml").write_text("services:\n  m:\n    image: mlflow/mlflow:v2.9.2\n")
    before = contents(tmp_path)

    def pin(version: str) -> BaseException | None:
        words = [version, str(tmp_path), "--offline", "--yes", "--registry"]
        return CliRunner().invoke(command, words, standalone_mode=False).exception

    failed = pin("3.16.0")
    assert (
        isinstance(failed, BadFile)
        and "Dockerfile:2: " in failed.message
        and "has no team/mlflow:v3.16.0" in str(failed)
    )
    assert contents(tmp_path) == before
    assert pin("3.17.2") is None
    assert (tmp_path / "Dockerfile").read_text() == f"# base\nFROM {name}:v3.17.2@{NEW}\n"
    assert "mlflow/mlflow:v3.17.2" in (tmp_path / "compose.yaml").read_text()
    fake.status = 500
    assert isinstance(pin("3.17.2"), LiftlockError)
