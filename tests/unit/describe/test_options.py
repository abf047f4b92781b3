from __future__ import annotations

from pathlib import Path

import pytest

from liftlock.describe import options
from liftlock.model.release import Release


@pytest.mark.parametrize(
    ("words", "option", "value", "kept"),
    [
        (("--backend-store-uri=sqlite:///a.db",), "--backend-store-uri", "sqlite:///a.db", ()),
        (("--backend-store-uri", "sqlite:///a.db"), "--backend-store-uri", "sqlite:///a.db", ()),
        (("-p", "5001"), "--port", "5001", ()),
        (("-p5001",), "--port", "5001", ()),
        (("-h", "0.0.0.0", "-w", "2"), "--host", "0.0.0.0", ()),
        (("--port", "1", "--port", "2"), "--port", "2", ()),
        (("--gunicorn-opts", "--timeout 60", "--port", "7"), "--port", "7", ("--gunicorn-opts", "--timeout 60")),
        (("--no-serve-artifacts", "--port", "7"), "--serve-artifacts", "false", ("--no-serve-artifacts",)),
        (("--future-flag", "--port", "7"), "--port", "7", ("--future-flag",)),
        (("--future", "value", "--port", "7"), "--port", "7", ("--future", "value")),
        (("--static-prefix", "/x"), "--static-prefix", "/x", ("--static-prefix", "/x")),
    ],
)
def test_words(words: tuple[str, ...], option: str, value: str, kept: tuple[str, ...]) -> None:
    parsed = options.parse(words, {})
    assert parsed.get(option) == value
    assert parsed.kept == kept


def test_command_line_comes_before_environment_before_default() -> None:
    environment = {"MLFLOW_PORT": "6000", "MLFLOW_SERVE_ARTIFACTS": "False", "MLFLOW_HOST": ""}
    parsed = options.parse(("--port", "7000"), environment)
    assert parsed.get("--port") == "7000"
    assert options.parse((), environment).get("--port") == "6000"
    assert options.parse((), environment).get("--host") is None
    assert not options.parse((), environment).is_on("--serve-artifacts", default=True)
    assert options.parse((), {}).is_on("--serve-artifacts", default=True)
    assert parsed.source("--port") == "process arguments (--port)"
    assert options.parse((), environment).source("--port") == "process environment (MLFLOW_PORT)"
    assert parsed.source("--workers") == "default of MLflow"


def test_without_and_unknown() -> None:
    words = ("--artifacts-destination", "/a", "--gunicorn-opts", "--timeout 60", "-w", "3", "--no-serve-artifacts")
    assert options.without(words, "--artifacts-destination") == words[2:]
    assert options.without(("--artifacts-destination=/a", "--dev"), "--artifacts-destination") == ("--dev",)
    assert options.unknown(words, "--artifacts-destination URI --gunicorn-opts TEXT") == ("--no-serve-artifacts",)


def test_default_backend_by_release(tmp_path: Path) -> None:
    old, new = Release.parse("3.6.0"), Release.parse("3.7.0")
    assert options.default_backend(old, tmp_path) == "./mlruns"
    assert options.default_backend(new, tmp_path) == "sqlite:///mlflow.db"
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    assert options.default_backend(new, tmp_path) == "sqlite:///mlflow.db"
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text("")
    assert options.default_backend(new, tmp_path) == "./mlruns"
