"""pip-audit is run on the locked set; where it cannot answer everything is unknown, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from liftlock.app import audit as auditing
from liftlock.errors import CommandFailed, UsageError
from liftlock.model.release import Release
from liftlock.releases.environment import Environment, Environments
from liftlock.releases.uv import IndexUnreachable

OLD, NEW = Release(version="2.9.2"), Release(version="3.17.2")
ANSWERS = {
    "a==1": '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X", "fix_versions": ["2"]}]}]}',
    "a==2": '{"dependencies": [{"name": "a", "version": "2", "vulns": []}]}',
}


@pytest.fixture
def environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environments:
    def made(release: Release, lock: str) -> Environment:
        return Environment(
            release=release, python=tmp_path, python_version="3.11.1", package=tmp_path, lock=lock, lock_digest="",
            owned=True,
        )  # fmt: skip

    both = (made(OLD, "a==1 \\\n  --hash=sha256:00\n"), made(NEW, "a==2\n"))
    monkeypatch.setattr(Environments, "cached", lambda _: both)
    return Environments(tmp_path)


def _value(words: Sequence[Any], option: str) -> Path:
    return Path(words[list(words).index(option) + 1])


def test_a_hop_fixes_what_its_set_no_longer_has(environments: Environments, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: Sequence[Any], **_: object) -> None:
        pin = _value(words, "--requirement").read_text().strip()
        _value(words, "--output").write_text(ANSWERS[pin])
        if pin == "a==1":  # that is how it says that there is something
            raise CommandFailed("found", argv=(), status=1, output="found 1")

    monkeypatch.setattr(auditing, "uv", run)
    found = auditing.audit(environments, OLD, NEW, None)
    assert [(each.what, each.flaw.id) for each in found.changes] == [("fixed", "X")]
    assert (found.before.unknown, found.after and found.after.unknown) == ({}, {})
    alone = auditing.audit(environments, OLD, None, None)
    assert (alone.after, [each.what for each in alone.changes]) == (None, ["left"])


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (IndexUnreachable("the index does not answer"), "the index does not answer"),
        (CommandFailed("x", argv=(), status=2, output="error: no such option"), "no such option"),
        (None, "gave no answer"),
    ],
)
def test_no_answer_is_unknown(
    error: Exception | None, says: str, environments: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object, **__: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(auditing, "uv", run)
    found = auditing.audit(environments, OLD, None, None).before
    assert found.flaws == ()
    assert says in found.unknown["a"]


def test_a_release_that_was_not_built_has_no_set(environments: Environments) -> None:
    with pytest.raises(UsageError, match="no environment of MLflow"):
        auditing.audit(environments, Release(version="3.0.1"), None, None)
    with pytest.raises(UsageError, match="which environment"):
        auditing.audit(environments, None, None, None)
