from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftlock.describe import config, secrets
from liftlock.errors import Refused, UsageError
from liftlock.model.deployment import Role
from liftlock.model.secret import redact

TEXT = """\
format = 1
name = "mlflow"

[server]
release = "2.9.2"
python = "/srv/venv/bin/python"
working_directory = "/srv/mlflow"
port = 5000
workers = 4
arguments = ["--serve-artifacts"]
environment = { MLFLOW_X = "y", MLFLOW_KEY = "${LL_TEST_KEY}" }

[stores]
tracking = "postgresql://mlflow:${LL_TEST_DB}@127.0.0.1:5432/mlflow"
auth = "sqlite:///basic_auth.db"

[artifacts]
roots = ["/srv/mlflow/mlartifacts"]

[credentials]
username = "admin"
password = "${LL_TEST_ADMIN}"

[backup]
keep_last = 7
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "liftlock.toml"
    path.write_text(TEXT)
    return path


def test_loads_expands_and_saves_without_secrets(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = config.load(path)
    secrets.write(
        loaded.state_directory, {"LL_TEST_DB": "p@ss/w:rd canary", "LL_TEST_KEY": "from-file", "LL_TEST_ADMIN": "adm1n"}
    )
    monkeypatch.setenv("LL_TEST_KEY", "from-environment")
    assert loaded.backup.keep_last == 7
    uri = loaded.store_uri(Role.TRACKING)
    assert uri.password is not None
    assert uri.password.reveal() == "p@ss/w:rd canary"
    assert uri.host == "127.0.0.1"
    assert loaded.store_uri(Role.AUTH).path == Path("/srv/mlflow/basic_auth.db")
    assert loaded.roles() == (Role.TRACKING, Role.AUTH)
    assert loaded.environment() == {"MLFLOW_X": "y", "MLFLOW_KEY": "from-environment"}
    login = loaded.credentials()
    assert login is not None
    assert (login[0], login[1].reveal()) == ("admin", "adm1n")
    assert redact("x p@ss/w:rd canary from-environment") == "x *** ***"
    loaded.save()
    assert config.load(path) == loaded
    assert "canary" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert (loaded.state_directory / "secrets.env").stat().st_mode & 0o777 == 0o600
    assert loaded.state_directory.stat().st_mode & 0o777 == 0o700


def test_a_whole_uri_from_one_name_is_taken_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LL_URI", "postgresql://u:a%2Fb@h/db")
    text = TEXT.replace("postgresql://mlflow:${LL_TEST_DB}@127.0.0.1:5432/mlflow", "${LL_URI}")
    password = config.loads(text, path).store_uri(Role.TRACKING).password
    assert password is not None
    assert password.reveal() == "a/b"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("workers = 4", "worker = 4", r":9: unknown key server\.worker"),
        ("[backup]", "[backups]", r":24: unknown key backups"),
        ("keep_last = 7", "keep_last = 0", r":25: backup\.keep_last must be at least 1"),
        ("port = 5000", 'port = "5000"', r":8: server\.port: Expected `int`, got `str`"),
        ("port = 5000", "port = 70000", r":8: server\.port must be between"),
        ('release = "2.9.2"', 'release = "latest"', r":5: 'latest' is not a version"),
        ('release = "2.9.2"\n', "", r"missing required field `release`"),
        ("format = 1", "format = 2", r":1: format must be 1, it is 2"),
        ("format = 1\n", "", r"format must be 1, it is missing"),
        ("[stores]", "[stores", r"not valid TOML"),
        ('name = "mlflow"', "name = 3", r":2: name must be a text"),
        ('arguments = ["--serve-artifacts"]', "arguments = [3]", r":10: server\.arguments"),
        ("port = 5000", 'runtime = "podman"', r"server\.runtime must be one of: process"),
    ],
)
def test_bad_configurations_name_file_and_line(path: Path, old: str, new: str, says: str) -> None:
    assert old in TEXT
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(UsageError, match=says) as caught:
        config.load(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_missing_sections_and_files(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text('format = 1\nname = "x"\n')
    with pytest.raises(UsageError, match=r"\[server\] is missing"):
        config.load(path)
    with pytest.raises(UsageError, match="cannot be read"):
        config.load(tmp_path / "none.toml")
    monkeypatch.delenv("LIFTLOCK_CONFIG", raising=False)
    assert config.find(tmp_path) == path
    with pytest.raises(UsageError, match=r"there is no liftlock\.toml"):
        config.find(tmp_path / "elsewhere")
    monkeypatch.setenv("LIFTLOCK_CONFIG", str(path))
    assert config.find(tmp_path / "elsewhere") == path
    monkeypatch.setenv("LIFTLOCK_CONFIG", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="not a file"):
        config.find(tmp_path)


def test_a_missing_secret_is_named(path: Path) -> None:
    with pytest.raises(UsageError, match=r"stores\.tracking: \$\{LL_TEST_DB\} has no value"):
        config.load(path).store_uri(Role.TRACKING)


def test_secrets_others_can_read_are_refused(path: Path) -> None:
    state = config.load(path).ensure_state()
    file = state / "secrets.env"
    file.write_text("LL_TEST_DB=x")
    file.chmod(0o640)
    with pytest.raises(Refused, match="read by others"):
        config.load(path).store_uri(Role.TRACKING)


def test_secrets_file_with_bad_lines(tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    file.write_text("# comment\n\nA= b=c \nno equals\n")
    file.chmod(0o600)
    with pytest.raises(UsageError, match=r"secrets\.env:4"):
        secrets.read(tmp_path)
    file.write_text("A= b=c \n")
    assert secrets.read(tmp_path) == {"A": " b=c "}
    with pytest.raises(UsageError, match="spans lines"):
        secrets.write(tmp_path, {"A": "x\ny"})
    secrets.write(tmp_path, {"B": "2"})
    assert secrets.read(tmp_path) == {"A": " b=c ", "B": "2"}


def test_registry_in_the_same_place_is_no_third_store(path: Path) -> None:
    text = TEXT.replace("postgresql://mlflow:${LL_TEST_DB}@127.0.0.1:5432/mlflow", "sqlite:///a.db")
    same = text.replace("[stores]\n", '[stores]\nregistry = "sqlite:////srv/mlflow/a.db"\n')
    other = text.replace("[stores]\n", '[stores]\nregistry = "sqlite:///b.db"\n')
    assert config.loads(same, path).roles() == (Role.TRACKING, Role.AUTH)
    assert config.loads(other, path).roles() == (Role.TRACKING, Role.REGISTRY, Role.AUTH)


def test_unwritable_directory(path: Path) -> None:
    loaded, before = config.load(path), path.read_text("utf-8")
    path.parent.chmod(0o555)
    try:
        with as_nobody(path), pytest.raises(UsageError, match="cannot be written"):
            loaded.save()
    finally:
        path.parent.chmod(0o700)
    assert path.read_text("utf-8") == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@contextlib.contextmanager
def as_nobody(path: Path) -> Iterator[None]:
    """As a user who owns nothing where the tests run as root, who may write everywhere; as who they run otherwise."""
    root = os.geteuid() == 0
    if root:
        for parent in path.parents:
            if not parent.stat().st_mode & 0o001:
                parent.chmod(0o711)
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
