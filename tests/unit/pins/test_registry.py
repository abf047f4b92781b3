"""Registries: a real HTTP server that speaks the distribution API is asked for tags and digests."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from liftlock.cli.pin import command
from liftlock.errors import LiftlockError
from liftlock.model.secret import redact
from liftlock.pins.model import BadFile
from liftlock.pins.registry import Reference, RegistryUnknown, digest
from tests.support.pins_tree import contents, write
from tests.support.registry import NEW, OLD, Fake, registry
from tests.support.servers import free_port


@pytest.fixture
def fake() -> Iterator[Fake]:
    with registry() as made:
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


LOGIN = "Basic " + base64.b64encode(b"robot:a-long-password").decode()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No login of whoever runs the tests."""
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".docker").mkdir()
    return tmp_path


@pytest.mark.parametrize("basic", [True, False])
def test_a_private_registry_is_asked_with_the_login_of_docker(fake: Fake, home: Path, basic: bool) -> None:
    fake.login, fake.basic = LOGIN, basic
    with pytest.raises(RegistryUnknown) as caught:
        digest(reference(fake))
    assert "docker login" in caught.value.hint
    auths = {f"127.0.0.1:{fake.port}": {"auth": LOGIN.removeprefix("Basic ")}, "other": {"auth": "eDp5"}}
    (home / ".docker/config.json").write_text(json.dumps({"auths": auths}))
    assert digest(reference(fake)) == NEW
    assert redact("a-long-password") == "***"
    (home / ".docker/config.json").write_text("{")
    with pytest.raises(LiftlockError, match=r"config\.json cannot be read"):
        digest(reference(fake))


def test_podmans_file_and_a_credential_helper(fake: Fake, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.login, fake.basic = LOGIN, True
    helper = home / "bin" / "docker-credential-vault"
    helper.parent.mkdir()
    said = '{"Username": "robot", "Secret": "a-long-password"}'
    helper.write_text(f"#!/bin/sh\n[ \"$1 $(cat)\" = 'get 127.0.0.1:{fake.port}' ] && echo '{said}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    (home / "auth.json").write_text(json.dumps({"credHelpers": {f"127.0.0.1:{fake.port}": "vault"}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "auth.json"))
    assert digest(reference(fake)) == NEW
    (home / "auth.json").write_text(json.dumps({"credsStore": "../../etc/passwd"}))
    with pytest.raises(RegistryUnknown):
        digest(reference(fake))


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("ghcr.io/mlflow/mlflow:v3.17.2", "https://ghcr.io/v2/mlflow/mlflow/manifests/v3.17.2"),
        ("host:5000/mlflow:3", "https://host:5000/v2/mlflow/manifests/3"),
        ("localhost:5000/a/mlflow:3@sha256:x", "http://localhost:5000/v2/a/mlflow/manifests/3"),
        ("docker.io/bitnami/mlflow:3", "https://registry-1.docker.io/v2/bitnami/mlflow/manifests/3"),
        ("docker.io/mlflow:3", "https://registry-1.docker.io/v2/library/mlflow/manifests/3"),
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
