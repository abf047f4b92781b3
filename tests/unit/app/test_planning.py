"""What lies between facts and a plan, and the files a run is built from again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from liftlock.app.planning import find_jump, load_plan, require_unchanged
from liftlock.app.runfiles import RunFiles, digest
from liftlock.app.workspace import Workspace
from liftlock.describe import config as configuration
from liftlock.errors import JournalError, Refused, UsageError
from liftlock.model.codec import to_json
from liftlock.model.deployment import Deployment, Role, ServerFacts, StoreFacts
from liftlock.model.journal import RunKind, RunOutcome, RunState
from liftlock.model.plan import Plan
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.plan.planner import plan
from liftlock.plan.situation import Situation
from liftlock.releases.tools import Heads
from tests.support.locks import hold

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HEADS = Heads(tracking=("a", "b", "c"), auth=("u", "v"))
OLD, NEW = Release(version="2.9.2"), Release(version="3.17.2")


def deployment(**revisions: str | None) -> Deployment:
    stores = tuple(
        StoreFacts(
            role=Role(role), engine=Engine.SQLITE, uri=role, engine_version="3", revision=revision,
            version_table="alembic_version", versions={}, tables=(), bytes=1,
        )
        for role, revision in revisions.items()
    )  # fmt: skip
    server = ServerFacts(
        release=OLD, python="p", host="h", port=1, workers=None, working_directory="/", arguments=(), environment={}
    )
    return Deployment(name="d", taken_at=NOW, runtime="process", server=server, stores=stores, artifacts=())


def made(found: Deployment) -> Plan:
    jump, foreign = find_jump(found, NEW, HEADS)
    return plan(Situation(now=NOW, deployment=found, jump=jump, foreign_revision=foreign))


def test_pending_revisions_of_each_chain() -> None:
    jump, foreign = find_jump(deployment(tracking="a", auth="u"), NEW, HEADS)
    assert (jump.tracking, jump.auth, foreign) == (("b", "c"), ("v",), None)
    assert find_jump(deployment(tracking="c"), NEW, HEADS)[0].changes_schema is False
    assert find_jump(deployment(tracking=None), NEW, HEADS)[0].tracking == ("a", "b", "c")
    assert find_jump(deployment(tracking="z", auth="u"), NEW, HEADS)[1] == "z"
    # The same name in the other chain is a stranger.
    assert find_jump(deployment(tracking="u"), NEW, HEADS)[1] == "u"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    text = 'format = 1\nname = "d"\n[server]\nrelease = "2.9.2"\npython = "p"\nworking_directory = "."\n'
    text += '[stores]\ntracking = "sqlite:///x.db"\n'
    return Workspace(configuration.loads(text, tmp_path / "liftlock.toml"))


def test_a_saved_plan_comes_back_and_an_edited_one_does_not(workspace: Workspace) -> None:
    saved = made(deployment(tracking="a"))
    directory = workspace.state / "plans"
    directory.mkdir()
    path = directory / f"{saved.id}.json"
    path.write_text(to_json(saved, indent=2))
    assert load_plan(workspace, saved.id) == saved
    data = json.loads(path.read_text())
    for edit in (
        {"steps": data["steps"][1:]},
        {"deployment_digest": "0" * 64},
        {"id": "plan-other"},
        {"strategy": "in-place"},
    ):
        path.write_text(json.dumps(data | edit))
        with pytest.raises(UsageError, match="edited"):
            load_plan(workspace, saved.id)
    path.write_text(json.dumps(data | {"unheard": 1}))
    with pytest.raises(UsageError, match="damaged"):
        load_plan(workspace, saved.id)
    (directory / "plan-copy.json").write_text(to_json(saved))
    with pytest.raises(UsageError, match="edited"):
        load_plan(workspace, "plan-copy")
    with pytest.raises(UsageError, match="no plan"):
        load_plan(workspace, "../../etc/passwd")


def test_a_plan_is_for_one_state_of_the_deployment() -> None:
    found = deployment(tracking="a")
    require_unchanged(made(found), found)
    with pytest.raises(Refused, match="changed"):
        require_unchanged(made(found), deployment(tracking="b"))


def test_run_files_come_back_to_the_letter_or_not_at_all(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, "run-1")
    files.write({"a.txt": "täxt\n"})
    assert (tmp_path / "runs" / "run-1" / "a.txt").stat().st_mode & 0o777 == 0o600
    state = RunState(
        id="run-1", kind=RunKind.UPGRADE, started_at=NOW, ended_at=None, outcome=RunOutcome.OPEN, operator="me",
        payload={"files": {"a.txt": digest("täxt\n")}}, steps=(),
    )  # fmt: skip
    assert files.read(state, "a.txt") == "täxt\n"
    with pytest.raises(JournalError, match="is not what"):
        files.read(state, "b.txt")
    (tmp_path / "runs" / "run-1" / "a.txt").write_text("täxt \n")
    with pytest.raises(JournalError, match="is not what"):
        files.read(state, "a.txt")
    (tmp_path / "runs" / "run-1" / "a.txt").unlink()
    with pytest.raises(JournalError, match="is not what"):
        files.read(state, "a.txt")


def test_one_run_at_a_time(workspace: Workspace) -> None:
    from liftlock.engine.executor import Executor

    workspace.require_no_run()
    workspace.begin(Executor(workspace.journal), RunKind.UPGRADE, "me", {}, {"a": "b"})
    with pytest.raises(Refused, match="has not ended") as caught:
        workspace.require_no_run()
    assert "resume" in caught.value.hint
    assert "abort" in caught.value.hint
    with workspace.lock("this"), pytest.raises(Refused, match="has not ended"):
        workspace.require_no_run()


def test_a_run_that_somebody_is_at_is_left_to_them(workspace: Workspace) -> None:
    """Neither resume nor abort helps while another process drives it."""
    from liftlock.engine.executor import Executor

    workspace.begin(Executor(workspace.journal), RunKind.UPGRADE, "me", {}, {"a": "b"})
    with hold(workspace.state) as other:
        with pytest.raises(Refused, match=rf"PID {other.pid}\) is at work .*: hold it") as caught:
            workspace.require_no_run()
        other.communicate()
    assert "Wait" in caught.value.hint
    with pytest.raises(Refused, match="has not ended"):
        workspace.require_no_run()
