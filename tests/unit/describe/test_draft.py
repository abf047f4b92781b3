from __future__ import annotations

from pathlib import Path

from liftlock.describe import config, draft, options
from liftlock.describe.environment import Installed
from liftlock.describe.process import Observed
from liftlock.model.deployment import Role
from liftlock.model.release import Release
from liftlock.model.uri import StoreUri
from liftlock.runtimes.interface import Handle


def observed(uri: str, words: tuple[str, ...], environment: dict[str, str]) -> Observed:
    given = options.parse(words, environment)
    return Observed(
        handle=Handle(pid=1, created=0.0), release=Release(version="2.9.2"), python=Path("/v/bin/python"),
        installed=Installed(version="2.9.2", package=Path("/v/mlflow"), python="3.11.7"),
        working_directory=Path("/srv/mlflow"), options=given, environment=environment, host="127.0.0.1", port=5000,
        workers=None, app_name=None, static_prefix="", stores={Role.TRACKING: StoreUri.parse(uri)}, artifacts=(),
        auth=None, login=None, sources={},
    )  # fmt: skip


def test_no_secret_stays_in_the_file_and_all_come_back(tmp_path: Path) -> None:
    words = ("--artifacts-destination", "ftp://u:ftp-canary%40@h/d", "--port", "5000")
    environment = {
        "MLFLOW_TRACKING_URI": "http://u:uri%40canary@h",
        "AWS_SECRET_ACCESS_KEY": "aws-canary",
        "GOOGLE_APPLICATION_CREDENTIALS": "/etc/gcp.json",
        "MLFLOW_BACKEND_STORE_URI": "postgresql://u:x@h/d",
        "MLFLOW_X": "y",
    }
    uri = "postgresql://ml:p%40ss-canary@h:5433/db?sslmode=require&sslpassword=ssl%26canary"
    made = draft.to_config(observed(uri, words, environment), tmp_path / "liftlock.toml", name="n")
    assert not list(tmp_path.iterdir()), "nothing is written before write()"
    made.write()
    text = (tmp_path / "liftlock.toml").read_text()
    assert "canary" not in text
    loaded = config.load(tmp_path / "liftlock.toml")
    assert loaded == made.config
    assert loaded.store_uri(Role.TRACKING) == StoreUri.parse(uri)
    assert loaded.arguments() == words[:2]
    kept = {name: value for name, value in environment.items() if name != "MLFLOW_BACKEND_STORE_URI"}
    assert loaded.environment() == kept
    assert loaded.server.environment["GOOGLE_APPLICATION_CREDENTIALS"] == "/etc/gcp.json"
    assert loaded.server.environment["MLFLOW_X"] == "y"
