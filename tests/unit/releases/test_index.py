from datetime import timedelta
from pathlib import Path

import pytest

from liftlock import clock
from liftlock.errors import ReleaseError
from liftlock.model.release import Release
from liftlock.proc import Completed
from liftlock.releases import index as module
from liftlock.releases.index import Index, Installable, nearest, parse_versions
from liftlock.releases.uv import IndexUnreachable

ANSWER = "mlflow (3.18.0)\nAvailable versions: 3.18.0, 3.18.0rc0, 3.17.2, 2.9.2, 2.9.1, 0.8.0-weird\n  INSTALLED: 1\n"


class World:
    """A package index that can be down, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.down = False
        self.asked = 0
        self.moment = clock.now()
        monkeypatch.setattr(module, "pip_index", self.pip)
        monkeypatch.setattr(module, "check_installable", self.check)
        monkeypatch.setattr(module, "refuse_yanked", lambda release: None)  # see test_yanked.py
        monkeypatch.setattr(clock, "now", lambda: self.moment)

    def pip(self, _: object) -> Completed:
        self.asked += 1
        if self.down:
            raise IndexUnreachable("no route")
        return Completed((), 0, ANSWER, "")

    def check(self, release: Release) -> Installable:
        return Installable(release=release, ok=release.version != "3.18.0", reason="no mlflow-skinny")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_versions_newest_first_without_nonsense() -> None:
    assert [str(release) for release in parse_versions(ANSWER)] == ["3.18.0", "3.18.0rc0", "3.17.2", "2.9.2", "2.9.1"]
    assert parse_versions("") == ()


def test_newest_is_the_newest_that_resolves_and_is_kept_for_an_hour(world: World, tmp_path: Path) -> None:
    index = Index(tmp_path)
    assert str(index.newest_installable()) == "3.17.2"
    assert str(Index(tmp_path).newest_installable()) == "3.17.2"
    assert world.asked == 1
    world.moment += timedelta(hours=2)
    index.newest_installable()
    assert world.asked == 2


def test_an_old_answer_serves_while_the_index_is_down(world: World, tmp_path: Path) -> None:
    world.down = True
    with pytest.raises(IndexUnreachable) as caught:
        Index(tmp_path).newest_installable()
    assert caught.value.retryable
    world.down = False
    Index(tmp_path).newest_installable()
    world.down = True
    world.moment += timedelta(days=3)
    assert str(Index(tmp_path).newest_installable()) == "3.17.2"


def test_unknown_release_names_the_nearest(world: World, tmp_path: Path) -> None:
    index = Index(tmp_path)
    index.require(Release.parse("2.9.2"))
    with pytest.raises(ReleaseError, match=r"there is no MLflow 2\.9\.9") as caught:
        index.require(Release.parse("2.9.9"))
    assert caught.value.hint == "Near it are: 2.9.2, 2.9.1."
    assert nearest(Release.parse("77"), parse_versions(ANSWER)) == ()


def test_a_damaged_cache_is_asked_again(world: World, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text("{")
    assert len(Index(tmp_path).available()) == 5
