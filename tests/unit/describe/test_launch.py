from __future__ import annotations

from pathlib import Path

import pytest

from liftlock.describe import config, launch
from liftlock.errors import Refused, ServerError
from liftlock.model.codec import from_builtins
from liftlock.model.deployment import Role
from liftlock.model.release import Release
from liftlock.model.uri import StoreUri

OLD, NEW = Release(version="2.9.2"), Release(version="3.17.2")


def make(tmp_path: Path, **server: object) -> config.Config:
    ini = tmp_path / "basic_auth.ini"
    ini.write_text(
        "[mlflow]\ndefault_permission = EDIT\ndatabase_uri = sqlite:///basic_auth.db\nadmin_username = root\n"
        "admin_password = a%%b\nread_database_uri = sqlite:///replica.db\n"
    )
    fields = {
        "release": "2.9.2",
        "python": "/v/bin/python",
        "working_directory": str(tmp_path),
        "environment": {"MLFLOW_AUTH_CONFIG_PATH": str(ini)},
        **server,
    }
    section = from_builtins(fields, config.ServerSection)
    stores = config.StoresSection(tracking="postgresql://u:pw-canary@h/db", auth="sqlite:///basic_auth.db")
    return config.Config(path=tmp_path / "liftlock.toml", name="x", server=section, stores=stores)


def test_store_uris_travel_in_the_environment(tmp_path: Path) -> None:
    made = make(tmp_path, workers=2, arguments=("--static-prefix", "/ml"))
    spec = launch.server_spec(made, python=Path("/new/bin/python"), release=OLD, port=6001)
    assert spec.arguments == ("--host", "127.0.0.1", "--port", "6001", "--workers", "2", "--static-prefix", "/ml")
    assert spec.environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql://u:pw-canary@h/db"
    assert "MLFLOW_REGISTRY_STORE_URI" not in spec.environment
    assert spec.static_prefix == "/ml"
    assert "canary" not in repr(spec)
    assert launch.ALLOWED_HOSTS not in spec.environment


def test_a_copy_for_rehearsal_touches_nothing_live(tmp_path: Path) -> None:
    made = make(tmp_path, app_name="basic-auth", arguments=("--artifacts-destination", "/live"))
    copies = {
        Role.TRACKING: StoreUri.parse("sqlite:////copy/t.db"),
        Role.AUTH: StoreUri.parse("postgresql://u:au%25th-canary@h/copy"),
    }
    overrides = launch.Overrides(
        stores=copies, artifacts_destination="/copy/a", directory=tmp_path / "private", environment={"X": "1"}
    )
    spec = launch.server_spec(made, python=Path("/n"), release=NEW, overrides=overrides)
    assert "/live" not in spec.arguments
    assert spec.arguments[-2:] == ("--artifacts-destination", "/copy/a")
    assert spec.environment["MLFLOW_BACKEND_STORE_URI"] == "sqlite:////copy/t.db"
    assert spec.environment["X"] == "1"
    ini = Path(spec.environment["MLFLOW_AUTH_CONFIG_PATH"])
    text = ini.read_text()
    assert "database_uri = postgresql://u:au%%25th-canary@h/copy" in text
    assert "default_permission = EDIT" in text
    assert "admin_password = a%%b" in text
    assert "replica" not in text
    assert ini.stat().st_mode & 0o777 == 0o600


def test_the_secret_key_is_made_once_and_a_given_one_is_kept(tmp_path: Path) -> None:
    made = make(tmp_path, app_name="basic-auth")
    first = launch.server_spec(made, python=Path("/n"), release=OLD).environment[launch.SECRET_KEY]
    assert launch.server_spec(made, python=Path("/n"), release=NEW).environment[launch.SECRET_KEY] == first
    own = {**made.server.environment, launch.SECRET_KEY: "mine"}
    given = make(tmp_path, app_name="basic-auth", environment=own)
    assert launch.server_spec(given, python=Path("/n"), release=NEW).environment[launch.SECRET_KEY] == "mine"


def test_public_names_from_3_5_on(tmp_path: Path) -> None:
    made = make(tmp_path, public_names=("ml.example.com",))
    hosts = launch.server_spec(made, python=Path("/n"), release=NEW).environment[launch.ALLOWED_HOSTS].split(",")
    assert {"ml.example.com", "ml.example.com:*", "localhost", "localhost:*", "10.*", "172.31.*"} <= set(hosts)
    origins = launch.server_spec(made, python=Path("/n"), release=NEW).environment[launch.ALLOWED_ORIGINS]
    assert "https://ml.example.com" in origins.split(",")
    own = make(tmp_path, public_names=("ml.example.com",), arguments=("--allowed-hosts", "x"))
    environment = launch.server_spec(own, python=Path("/n"), release=NEW).environment
    assert launch.ALLOWED_HOSTS not in environment
    assert launch.ALLOWED_HOSTS not in launch.server_spec(make(tmp_path), python=Path("/n"), release=NEW).environment


def test_options_the_release_does_not_know_are_refused(tmp_path: Path) -> None:
    made = make(tmp_path, arguments=("--waitress-opts", "--x", "--shiny"))
    text = "-h, --host HOST\n-p, --port INTEGER\n--waitress-opts TEXT"
    with pytest.raises(Refused, match=r"MLflow 3\.17\.2 does not know --shiny$"):
        launch.server_spec(made, python=Path("/n"), release=NEW, help_text=text)


def test_unreadable_auth_settings(tmp_path: Path) -> None:
    made = make(tmp_path, app_name="basic-auth")
    (tmp_path / "basic_auth.ini").write_text("[other]\n")
    other = launch.Overrides(stores={Role.AUTH: StoreUri.parse("sqlite:////c.db")}, directory=tmp_path / "p")
    with pytest.raises(ServerError, match="cannot be read"):
        launch.server_spec(made, python=Path("/n"), release=NEW, overrides=other)


def test_a_copy_leaves_replica_archive_and_default_root_alone(tmp_path: Path) -> None:
    words = ("--no-serve-artifacts", "--default-artifact-root", "/live", "--read-replica-backend-store-uri", "x://y")
    archive = {"MLFLOW_TRACE_ARCHIVAL_CONFIG": "/live.yaml", "MLFLOW_DEFAULT_ARTIFACT_ROOT": "/live"}
    made = make(tmp_path, arguments=words, environment=archive)
    copies = {Role.TRACKING: StoreUri.parse("sqlite:////copy/t.db")}
    overrides = launch.Overrides(stores=copies, artifacts_destination="/copy/a")
    spec = launch.server_spec(made, python=Path("/n"), release=NEW, overrides=overrides)
    assert not {"/live", "x://y"} & set(spec.arguments)
    assert spec.arguments[-2:] == ("--default-artifact-root", "/copy/a")
    assert "MLFLOW_TRACE_ARCHIVAL_CONFIG" not in spec.environment
    live = launch.server_spec(made, python=Path("/n"), release=NEW)
    assert live.arguments[-len(words) :] == words
