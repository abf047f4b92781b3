"""A release that its makers withdrew (PEP 592): real uv and pip on an index of our own."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from liftlock.errors import ReleaseError
from liftlock.model.release import Release
from liftlock.releases import index as module
from liftlock.releases.environment import Environments
from liftlock.releases.index import Index, check_installable
from liftlock.releases.lock import Yanked, resolve
from liftlock.releases.pythons import find_python

GOOD, WITHDRAWN, SILENT, ABSENT = (Release.parse(f"90.{minor}.0") for minor in (1, 2, 3, 4))
REASON = 'it "eats" runs'


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with one good release, one withdrawn with a reason and one without."""
    place = tmp_path / "simple" / "mlflow"
    place.mkdir(parents=True)
    links = []
    for release, mark in (
        (GOOD, ""),
        (WITHDRAWN, f' data-yanked="{REASON.replace(chr(34), "&quot;")}"'),
        (SILENT, ' data-yanked=""'),
    ):
        name = f"mlflow-{release}-py3-none-any.whl"
        info = f"mlflow-{release}.dist-info"
        with zipfile.ZipFile(place / name, "w") as wheel:
            wheel.writestr("mlflow/__init__.py", "")
            metadata = f"Metadata-Version: 2.1\nName: mlflow\nVersion: {release}\nProvides-Extra: auth\n"
            wheel.writestr(f"{info}/METADATA", metadata)
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        digest = hashlib.sha256((place / name).read_bytes()).hexdigest()
        links.append(f'<a href="{name}#sha256={digest}"{mark}>{name}</a>')
    (place / "index.html").write_text("<!DOCTYPE html><html><body>" + "".join(links) + "</body></html>")
    monkeypatch.setenv("UV_DEFAULT_INDEX", place.parent.as_uri())
    return place.parent


def test_withdrawn_and_listed_are_told_apart(offered: Path) -> None:
    python = find_python(GOOD).path
    assert resolve(GOOD, python, (), ()).startswith("mlflow")
    with pytest.raises(Yanked, match=r"MLflow 90\.2\.0 was withdrawn .*: it \"eats\" runs$") as caught:
        resolve(WITHDRAWN, python, (), ())
    assert caught.value.reason == REASON
    with pytest.raises(Yanked, match="no reason is given"):
        resolve(SILENT, python, (), ())
    with pytest.raises(ReleaseError, match="cannot be installed") as absent:
        resolve(ABSENT, python, (), ())
    assert not isinstance(absent.value, Yanked)
    found = [check_installable(release) for release in (GOOD, WITHDRAWN, ABSENT)]
    assert [(each.ok, each.yanked) for each in found] == [(True, False), (False, True), (False, False)]


def test_nothing_is_built_from_a_withdrawn_release(offered: Path, tmp_path: Path) -> None:
    with pytest.raises(Yanked):
        Environments(tmp_path / "cache").build(WITHDRAWN)
    assert not list((tmp_path / "cache").rglob("venv"))


def test_a_name_that_pip_does_not_list_may_be_withdrawn_or_absent(
    offered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.Index, "available", lambda self: (GOOD,))  # as `pip index versions` answers
    index = Index(tmp_path)
    index.require(GOOD)
    with pytest.raises(Yanked):
        index.require(WITHDRAWN)
    with pytest.raises(ReleaseError, match=r"there is no MLflow 90\.4\.0"):
        index.require(ABSENT)
