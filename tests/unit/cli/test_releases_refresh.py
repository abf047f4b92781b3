"""`releases refresh` from a real index over HTTP, through real pip: all of it, nothing twice, cut off and taken up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from liftlock.cli.main import cli
from liftlock.knowledge.catalogue import Catalogue
from liftlock.model.release import Release
from liftlock.releases.uv import IndexUnreachable
from tests.support.distributions import sdist, wheel
from tests.support.package_index import Served, served

pytestmark = pytest.mark.xdist_group("releases")
_SETUP = "from setuptools import setup\nsetup(name='mlflow', version='1.2.0', packages=['mlflow'])\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """An index with two wheels and a prerelease, which is the only one that pip and uv know of."""
    place = tmp_path / "index"
    place.mkdir()
    wheel(place, "1.0.0", {"mlflow/a.py": "def f(x): ...\n"}, "Requires-Python: >=3.5\n")
    wheel(place, "1.1.0", {"mlflow/a.py": "def f(x, y=1): ...\n"})
    wheel(place, "2.0.0rc0", {})
    with served(place, "mlflow") as running:
        for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("UV_DEFAULT_INDEX", running.url)
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("LIFTLOCK_CACHE", str(tmp_path / "cache"))
        yield running


def refresh(*words: str) -> Result:
    return CliRunner().invoke(cli, ["releases", "refresh", *words])


def releases(cache: Path) -> list[str]:
    return [str(each) for each in Catalogue(cache / "catalogue").releases]


def test_everything_the_index_has_and_nothing_twice(index: Served, tmp_path: Path) -> None:
    result = refresh("--json")
    assert result.exception is None, result.output
    assert json.loads(result.stdout)["releases"] == ["1.0.0", "1.1.0"], "and no prerelease"
    made = Catalogue(tmp_path / "cache" / "catalogue")
    assert made.fact("api", "mlflow.a.f", Release.parse("1.1.0")) == ("f(x, y=1)", "mlflow/a.py")
    once = {"mlflow-1.0.0-py3-none-any.whl": 1, "mlflow-1.1.0-py3-none-any.whl": 1}
    assert index.fetched == once
    wheel(index.directory, "1.3.0", {})
    assert refresh().exception is None
    assert releases(tmp_path / "cache")[-1] == "1.3.0", "what came out meanwhile is seen at once"
    assert index.fetched == {**once, "mlflow-1.3.0-py3-none-any.whl": 1}


@pytest.mark.soak
def test_what_pip_takes_reluctantly(index: Served, tmp_path: Path) -> None:
    """An sdist, whose setup.py pip runs, and metadata that pip takes up to 24.0 only (MLflow 1.4.0 and 1.27.0)."""
    sdist(index.directory, "1.2.0", {"mlflow/a.py": "def g(): ...\n", "setup.py": _SETUP})
    wheel(index.directory, "1.1.1", {}, "Requires-Dist: sqlalchemy (>=1.4.0.*)\n")
    result = refresh("--json")
    assert result.exception is None, result.output
    assert json.loads(result.stdout)["missing"] == {}
    assert releases(tmp_path / "cache") == ["1.0.0", "1.1.0", "1.1.1", "1.2.0"]
    made = Catalogue(tmp_path / "cache" / "catalogue")
    assert made.fact("api", "mlflow.a.g", Release.parse("1.2.0")) is not None


def test_an_index_that_goes_away_in_the_middle(index: Served, tmp_path: Path) -> None:
    index.broken.add("mlflow-1.1.0-py3-none-any.whl")
    partly = refresh()
    assert "without 1.1.0" in partly.output, "a file that is cut off is none, and is said"
    assert releases(tmp_path / "cache") == ["1.0.0"]
    kept = tmp_path / "cache" / "distributions"
    assert [path.name for path in kept.glob("*.whl")] == ["mlflow-1.0.0-py3-none-any.whl"]
    index.down = True
    gone = refresh().exception
    assert isinstance(gone, IndexUnreachable)
    assert (gone.retryable, releases(tmp_path / "cache")) == (True, ["1.0.0"]), "what there was stays"
    index.down, index.broken = False, set()
    assert refresh().exception is None
    assert releases(tmp_path / "cache") == ["1.0.0", "1.1.0"]
    assert set(index.fetched.values()) == {1}, "nothing is fetched twice"


def test_a_run_that_is_killed_is_taken_up(index: Served, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "liftlock.cli.main", "releases", "refresh"]
    env = {**os.environ, "LIFTLOCK_CRASH_AT": "after:keep distribution"}
    killed = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120)
    assert killed.returncode < 0, killed.stderr
    kept = [path.name for path in (tmp_path / "cache" / "distributions").glob("*.whl")]
    assert kept and not (tmp_path / "cache" / "catalogue").exists()
    assert refresh().exception is None
    assert releases(tmp_path / "cache") == ["1.0.0", "1.1.0"]
    assert all(index.fetched[name] == 1 for name in kept), "what was kept is not fetched again"
