import json
import subprocess
import sys
from pathlib import Path

import pytest

from liftlock.errors import ReleaseError
from liftlock.model.uri import Engine
from liftlock.releases.observe import Distribution, carried, describe, lock_of, mlflow_release
from liftlock.releases.uv import IndexUnreachable


def fake(
    site: Path, name: str, version: str, *, requires: tuple[str, ...] = (), groups: str = "", url: str = ""
) -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {text}" for text in requires)]
    (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
    if groups:
        (info / "entry_points.txt").write_text(f"[{groups}]\nx = y:z\n")
    if url:
        (info / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {"editable": True}}))


@pytest.fixture
def python(tmp_path: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "v")], check=True)
    site = next((tmp_path / "v" / "lib").glob("python3*/site-packages"))
    fake(site, "mlflow", "2.9.2", requires=("Flask<3", "boto3; extra == 'extras'", "docker"), groups="mlflow.app")
    (site / "mlflow").mkdir()
    fake(site, "Flask", "2.3.0", requires=("werkzeug", "cryptography"))
    fake(site, "cryptography", "42.0")
    fake(site, "psycopg2", "2.9.9")
    fake(site, "PyMySQL", "1.1.0")
    fake(site, "boto3", "1.34.0")
    fake(site, "pandas-profiling", "1.0")
    fake(site, "corp-auth", "0.1", groups="mlflow.request_header_provider")
    fake(site, "corp-store", "0.2", groups="mlflow.artifact_repository", url="file:///srv/corp-store")
    return tmp_path / "v" / "bin" / "python"


def test_describe_and_carry(python: Path) -> None:
    found = describe(python)
    assert mlflow_release(found).version == "2.9.2"
    assert Path(found.package).name == "mlflow"
    assert carried(found.distributions, {Engine.POSTGRESQL}) == (
        "PyMySQL", "boto3", "corp-auth", "corp-store @ file:///srv/corp-store",
    )  # fmt: skip
    assert "psycopg2" in carried(found.distributions, ())


def test_without_the_index_the_lock_is_bare_pins(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise IndexUnreachable("no route")

    monkeypatch.setattr("liftlock.releases.observe.compile_lock", unreachable)
    lock, unlocked = lock_of(describe(python), python)
    assert "mlflow==2.9.2\n" in lock and "--hash" not in lock
    assert unlocked == ("corp-store",)


def test_what_the_index_does_not_have_is_named(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_some(requirements: tuple[str, ...], *_: object, **__: object) -> str:
        for name in ("corp-auth", "pandas-profiling"):
            if f"{name}==" in " ".join(requirements):
                raise ReleaseError(f"MLflow 2.9.2 cannot be installed: Because {name} was not found in the registry")
        return "".join(f"{line}\n" for line in requirements)

    monkeypatch.setattr("liftlock.releases.observe.compile_lock", compile_some)
    lock, unlocked = lock_of(describe(python), python)
    assert unlocked == ("corp-auth", "corp-store", "pandas-profiling")
    assert "boto3==1.34.0" in lock


def test_a_repository_keeps_its_commit() -> None:
    url = {"url": "https://git.example/p.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    plugin = Distribution(name="p", version="1", groups=("mlflow.app",), direct_url=json.dumps(url))
    assert carried([plugin], ()) == ("p @ git+https://git.example/p.git@abc",)


def test_no_mlflow_and_no_python(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="MLflow is not installed in this Python"):
        describe(Path(sys.executable))
    with pytest.raises(ReleaseError, match="does not run as a Python"):
        describe(tmp_path / "nothing")
