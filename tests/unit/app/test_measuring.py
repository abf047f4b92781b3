"""A real client's round with a real server gives what is shipped; a second run takes what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from liftlock.app.compatibility import Measurer
from liftlock.errors import ReleaseError
from liftlock.knowledge import compatibility
from liftlock.model.progress import Progress
from liftlock.model.release import Release
from liftlock.releases.environment import Environment, Environments
from tests.support import releases

OLD = Release(version="2.9.2")


@pytest.fixture
def measurer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Measurer, list[str]]:
    """A measurer with results of its own and the environments that all tests share."""
    told: list[str] = []

    def build(_: Measurer, release: Release) -> Environment:
        if release.version == "0.0.1":
            raise ReleaseError("no such release")
        return releases.environment(release.version)

    monkeypatch.setattr(Measurer, "_build", build)

    def note(event: Progress) -> None:
        told.append(event.work)

    return Measurer(Environments(tmp_path), note), told


@pytest.mark.soak
@pytest.mark.release
def test_a_round_is_what_is_shipped(measurer: tuple[Measurer, list[str]]) -> None:
    work, _ = measurer
    newest = Release(version=releases.newest())
    missing = Release(version="0.0.1")

    found = work.measure([missing, OLD], [newest])

    assert [(each.client, each.reason) for each in found.unmeasured] == [(missing, "no such release")]
    pair = found.round(OLD, newest)
    assert pair is not None
    shipped = compatibility.load().round(OLD, newest)
    if shipped is not None:  # a release newer than the shipped table has no row in it
        assert found.operations == compatibility.load().operations
        assert [(each.operation, each.result) for each in pair.deviations] == [
            (each.operation, each.result) for each in shipped.deviations
        ]
    assert compatibility.parse(compatibility_json(found), "again") == found


def compatibility_json(table: compatibility.Table) -> bytes:
    from liftlock.model.codec import to_json

    return to_json(table).encode()


class _Client:
    """Answers a round as `inside/round.py` would, without a server; counts its rounds."""

    rounds = 0

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, *_: object, **__: object) -> dict[str, list[list[object]]]:
        type(self).rounds += 1
        trace = "MlflowException: http://127.0.0.1:4567/api/traces/tr-0123456789abcdef0123456789abcdef is not there"
        return {"operations": [["a", "ok", 0.1, ""], ["b", "failed", 0.1, trace], ["c", "n/a", 0.0, "no call"]]}


def test_what_was_measured_is_kept_and_not_run_again(
    measurer: tuple[Measurer, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def serving(*_: object) -> Iterator[str]:
        yield "http://127.0.0.1:4567"

    here = Environment(
        release=OLD, python=Path("python"), python_version="3.11.1", package=Path("p"), lock="", lock_digest="",
        owned=True,
    )  # fmt: skip
    monkeypatch.setattr(Measurer, "_build", lambda _, release: msgspec.structs.replace(here, release=release))
    monkeypatch.setattr("liftlock.app.compatibility._serving", serving)
    monkeypatch.setattr("liftlock.app.compatibility.Worker", _Client)
    work, told = measurer
    newer = Release(version="3.0.1")
    found = work.measure([OLD], [newer])
    assert found.operations == ("a", "b", "c")
    assert [(each.operation, each.result.value, each.message) for each in found.rounds[0].deviations] == [
        ("b", "failed", "MlflowException: http://server/api/traces/ID is not there"),
        ("c", "n/a", "no call"),
    ]
    told.clear()
    again = work.measure([OLD, newer], [newer])
    assert _Client.rounds == 2, "the first pair was kept"
    assert again.rounds[0] == found.rounds[0]
    assert len(told) == 1
    kept = next(work._directory.glob("2.9.2-*.json"))
    kept.write_text(kept.read_text()[:-10])
    assert work.measure([OLD], [newer]).rounds == found.rounds
    assert _Client.rounds == 3, "a damaged result is measured again"


def test_a_server_that_cannot_be_built_costs_its_row_only(measurer: tuple[Measurer, list[str]]) -> None:
    found = measurer[0].measure([OLD], [Release(version="0.0.1")])
    assert [each.reason for each in found.unmeasured] == ["server: no such release"]
    assert found.rounds == ()
