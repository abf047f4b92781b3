"""`liftlock releases` as a person calls it, and the making of a catalogue from distributions on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from liftlock.app.catalogue import current
from liftlock.app.compatibility import CLIENTS, SERVERS, Measurer
from liftlock.app.releases import Refresher
from liftlock.cli.main import cli
from liftlock.errors import LiftlockError, ReleaseError
from liftlock.knowledge import compatibility
from liftlock.knowledge.catalogue import Catalogue, load
from liftlock.model.progress import Progress
from liftlock.model.release import Release
from liftlock.releases.index import Index
from tests.support.distributions import sdist, wheel


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that a catalogue of the developer's own does not answer."""
    monkeypatch.setenv("LIFTLOCK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["releases", *words], catch_exceptions=True)


def answered(*words: str) -> str:
    result = run(*words)
    assert result.exception is None, result.output
    return result.output


def test_list_is_filtered_and_says_the_date_of_the_data() -> None:
    text = answered("list", "--filter", "2.9.")
    assert "2.9.2" in text and "acf3f17fdcc7" in text and "2.10.0" not in text
    assert f"catalogue of {load().contents.made}" in text
    data = json.loads(answered("list", "--json"))
    assert len(data["releases"]) == len(load().releases)
    assert data["releases"][0]["release"] == "1.0.0"


def test_list_by_day_by_publication_and_by_a_databases_revision() -> None:
    versions = [
        each["release"] for each in json.loads(answered("list", "--order", "publication", "--json"))["releases"]
    ]
    assert sorted(versions) == sorted(each.version for each in load().releases)
    assert versions != [each.version for each in load().releases]
    assert versions.index("2.22.5") > versions.index("3.0.1"), "a patch of the old line came later"
    text = answered("list", "--head", "dc11669786a5")
    assert "3.17.2" in text and "3.16.1" not in text
    assert "a tracking database as MLflow 3.17" in text
    assert "revision of both the tracking and the auth database" in answered("list", "--head", "a1b2c3d4e5f6")
    assert "no revision of any MLflow" in answered("list", "--head", "0123456789ab")
    days = [each["built"] for each in json.loads(answered("list", "--since", "2026-01-01", "--json"))["releases"]]
    assert days and min(days) >= "2026-01-01"


def test_show_and_one_section_with_its_sources() -> None:
    assert "dc11669786a5" in answered("show", "3.17.2")
    data = json.loads(answered("show", "3.17.2", "--section", "cli", "--filter", "server --port", "--json"))
    assert data["server --port"] == {
        "value": "default=5000 envvar=MLFLOW_PORT", "source": "mlflow/cli/__init__.py",
    }  # fmt: skip


def test_show_newest() -> None:
    assert str(load().newest) in answered("show", "newest")


def test_diff_says_what_breaks() -> None:
    text = answered("diff", "1.30.1", "2.0.1", "--breaking")
    assert "!- mlflow.list_experiments" in text and "!- experiments list" in text
    assert "Python >=3.7 becomes >=3.8" in text and " + " not in text
    data = json.loads(answered("diff", "2.22.5", "3.0.0", "--section", "flavors", "--json"))
    assert {change["key"] for change in data["changes"] if change["what"] == "removed"} >= {"fastai", "mleap"}


def test_show_says_what_a_release_needs_today() -> None:
    text = answered("show", "2.9.2")
    assert "Python 3.8 to 3.11" in text and "sqlalchemy<2.1" in text and "FallbackAsyncAdaptedQueuePool" in text
    assert json.loads(answered("show", "2.9.2", "--json"))["needs"].keys() == {"sqlalchemy<2.1", "setuptools<81"}
    assert json.loads(answered("show", "3.17.2", "--json"))["needs"] == {}
    assert "needs today" not in answered("show", "3.17.2")


def test_path_names_every_migration_with_the_release_that_brought_it() -> None:
    data = json.loads(answered("path", "2.9.2", "3.17.2", "--json"))
    assert (data["kind"], data["stops"]) == ("major", [])
    assert sum(each["chain"] == "tracking" for each in data["migrations"]) == 44
    found = next(each for each in data["migrations"] if each["revision"] == "75868b020152")
    assert (found["chain"], found["release"]["version"], "trace" in found["title"]) == ("tracking", "3.17.0", True)
    assert "no database migration" in answered("path", "2.8.1", "2.12.2")


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("show", "3.7.1"), 3, "knows no MLflow 3.7.1"), (("diff", "2.9.2", "two"), 2, "is not a version"),
        (("path", "3.17.2", "2.9.2"), 2, "no way back"), (("list", "--since", "yesterday"), 2, "is not a day"),
    ],
)  # fmt: skip
def test_bad_words(words: tuple[str, ...], status: int, says: str) -> None:
    error = run(*words).exception
    assert isinstance(error, LiftlockError)
    assert (error.exit_status, says in error.message) == (status, True)


def prepared(cache: Path) -> Path:
    place = cache / "distributions"
    place.mkdir(parents=True)
    wheel(place, "1.0.0", {"mlflow/a.py": "def f(x): ...\n"}, "Requires-Python: >=3.5\n")
    sdist(place, "1.1.0", {"mlflow/a.py": "def f(x, y=1): ...\n"})
    return place


def test_compat_is_a_table_of_what_was_measured() -> None:
    text = answered("compat")
    row = next(line for line in text.splitlines() if line.startswith("2.9.2 "))
    assert row.split()[1:] == ["30", "ok,", "1", "n/a"] * len(compatibility.load().servers)
    assert compatibility.load().made in text
    one = answered("compat", "--client", "3.2.0", "--client", "3.17.2", "--server", "2.9.2", "--detail")
    assert "~breaks" in one
    assert "client 3.2.0, server 2.9.2: breaks (as clients 3.0.1 and 3.4.0 with servers 2.9.2)" in one
    assert "failed   list artifacts: MlflowException" in one
    assert "unknown" in answered("compat", "--client", "0.1.0")
    data = json.loads(answered("compat", "--client", "2.9.2", "--json"))
    assert len(data["operations"]) == 31
    assert {each["state"] for each in data["judgements"]} == {"works"}


def test_measure_writes_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[str], list[str]]] = []

    def measured(_: Measurer, clients: list[Release], servers: list[Release]) -> compatibility.Table:
        asked.append(([str(each) for each in clients], [str(each) for each in servers]))
        return compatibility.load()

    monkeypatch.setattr(Measurer, "measure", measured)
    monkeypatch.setattr(Index, "newest_installable", lambda *_: Release(version="3.17.2"))
    into = tmp_path / "compatibility.json"
    assert "30 ok, 1 n/a" in answered("measure", "--client", "2.9.2", "--server", "3.17.2", "--into", str(into))
    assert compatibility.parse(into.read_bytes(), "again") == compatibility.load()
    answered("measure")
    assert asked == [(["2.9.2"], ["3.17.2"]), ([*CLIENTS, "3.17.2"], [*SERVERS, "3.17.2"])]


def test_a_catalogue_is_made_and_made_again_from_what_was_kept(cache: Path) -> None:
    place = prepared(cache)
    seen: list[Progress] = []
    wanted = [Release.parse("1.1"), Release.parse("1.0.0")]
    contents = Refresher(cache, seen.append).refresh(cache / "catalogue", wanted=wanted)
    assert contents.releases == ("1.0.0", "1.1") and contents.missing == {}
    assert [each.work for each in seen][-1] == "write the catalogue"
    made = Catalogue(cache / "catalogue")
    assert made.fact("api", "mlflow.a.f", Release.parse("1.1.0")) == ("f(x, y=1)", "mlflow/a.py")
    assert made.python(Release.parse("1.0.0")) == ">=3.5"
    kept = {path: path.stat().st_mtime_ns for path in place.glob("*.facts*")}
    assert len(kept) == 2
    first = {path.name: path.read_bytes() for path in (cache / "catalogue").iterdir()}
    Refresher(cache).refresh(cache / "catalogue", wanted=wanted)
    assert {path: path.stat().st_mtime_ns for path in place.glob("*.facts*")} == kept
    assert {path.name: path.read_bytes() for path in (cache / "catalogue").iterdir()} == first


def test_a_damaged_distribution_and_a_damaged_kept_result(cache: Path) -> None:
    place = prepared(cache)
    damaged = wheel(place, "1.2.0", {})
    damaged.write_bytes(b"PK\x03\x04 nothing")
    wanted = [Release.parse(text) for text in ("1.0.0", "1.1.0", "1.2.0")]
    contents = Refresher(cache).refresh(cache / "catalogue", wanted=wanted)
    assert contents.releases == ("1.0.0", "1.1.0")
    assert "damaged" in contents.missing["1.2.0"]
    for path in place.glob("*.facts*"):
        path.write_bytes(b"\xfd7zXZ\x00 cut")
    again = Refresher(cache).refresh(cache / "catalogue", wanted=wanted)
    assert again.releases == ("1.0.0", "1.1.0")


def test_nothing_readable_is_an_error(cache: Path) -> None:
    place = prepared(cache)
    for path in place.iterdir():
        path.write_bytes(b"")
    with pytest.raises(ReleaseError, match="no release could be read"):
        Refresher(cache).refresh(cache / "catalogue", wanted=[Release.parse("1.0.0")])


def test_a_damaged_own_catalogue_leaves_the_shipped_one_usable(cache: Path) -> None:
    prepared(cache)
    Refresher(cache).refresh(cache / "catalogue", wanted=[Release.parse("1.0.0")])
    mine, warning = current(cache)
    assert (mine.releases, warning) == ((Release.parse("1.0.0"),), "")
    load.cache_clear()
    (cache / "catalogue" / "cli.json.xz").write_bytes(b"noise")
    shipped, warning = current(cache)
    assert len(shipped.releases) > 100
    assert "cli.json.xz" in warning and "shipped catalogue" in warning
    result = run("list", "--filter", "2.9.2")
    assert result.exception is None and "warning:" in result.output


def test_a_killed_reader_is_said_and_the_next_run_goes_on(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = prepared(cache)
    wanted = [Release.parse("1.0.0"), Release.parse("1.1.0")]
    monkeypatch.setenv("LIFTLOCK_CRASH_AT", "after:keep release facts")
    with pytest.raises(ReleaseError, match="was killed") as caught:
        Refresher(cache).refresh(cache / "catalogue", wanted=wanted)
    assert caught.value.retryable
    kept = {path: path.stat().st_mtime_ns for path in place.glob("*.facts*")}
    assert kept and not (cache / "catalogue").exists()
    monkeypatch.delenv("LIFTLOCK_CRASH_AT")
    assert Refresher(cache).refresh(cache / "catalogue", wanted=wanted).releases == ("1.0.0", "1.1.0")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was read is not read again"


def test_a_half_written_catalogue_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(cache)
    wanted = [Release.parse("1.0.0")]
    Refresher(cache).refresh(cache / "catalogue", wanted=wanted)
    (cache / "catalogue" / "index.json").unlink()  # what a kill in the middle of writing leaves
    own, warning = current(cache)
    assert (len(own.releases) > 100, warning) == (True, "")
