"""Who is told of what, and that nothing of it can stop the work it is about."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liftlock import clock
from liftlock.app.environments import decide, enter
from liftlock.app.notify import announced, due, plan_ready, tell
from liftlock.app.workspace import Workspace
from liftlock.errors import NeedsPerson, PutBack, Refused, UsageError
from liftlock.evidence import account
from liftlock.model.evidence import DecisionKind
from liftlock.model.journal import Kind
from liftlock.model.progress import Progress
from liftlock.model.release import Release
from liftlock.notify.message import Event
from tests.support.plans import deployment, given
from tests.support.receivers import Hook, hook
from tests.support.servers import free_port


def workspace(directory: Path, more: str) -> Workspace:
    (directory / "liftlock.toml").write_text(
        'format = 1\nname = "d"\n[server]\nrelease = "2.9.2"\npython = "p"\nworking_directory = "."\n'
        f'[stores]\ntracking = "sqlite:///m.db"\n[environments]\nname = "prod"\n{more}'
    )
    return Workspace.open(directory / "liftlock.toml")


def receiver(url: str, *events: str, kind: str = "webhook") -> str:
    names = ", ".join(f'"{each}"' for each in events)
    return f'[[notify.receivers]]\nkind = "{kind}"\nrole = "owner"\nurl = "{url}"\nevents = [{names}]\n'


def events(server: Hook) -> list[str]:
    return [each["event"] for each in server.bodies()]


def test_each_hears_what_it_asked_for_and_what_failed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = f"canary-{uuid.uuid4().hex}"
    monkeypatch.setenv("HOOK_TOKEN", word)
    said: list[Progress] = []
    with hook() as every, hook() as some:
        owners = '[notify]\ntimeout = 3.0\n[notify.owners]\ndri = "Jane"\n'
        more = receiver(every.url("/${HOOK_TOKEN}")) + receiver(some.url(), "put-back")
        dead = receiver(f"json://127.0.0.1:{free_port()}/${{HOOK_TOKEN}}", kind="apprise") + receiver("${NOT_SET}")
        found = workspace(tmp_path, owners + more + dead)
        told = tell(found, Event.STARTED, f"it begins {word}", observer=said.append)
        tell(found, Event.PUT_BACK, "put back")
    assert every.seen[0][0] == f"/{word}"
    assert events(every) == ["started", "put-back"] and events(some) == ["put-back"]
    assert every.bodies()[0]["owners"] == {"dri": "Jane"} and every.bodies()[0]["text"] == "it begins ***"
    assert [bool(each.problem) for each in told] == [True, False, True]
    assert "NOT_SET" in told[0].problem and word not in repr(told) + repr(said)
    assert len(said) == 2 and "apprise, owner" in said[1].work


class Life:
    """A run of a journal that ends as a test wants."""

    def __init__(self, found: Workspace) -> None:
        self.found = found

    def run(self, kind: str, *ends: tuple[str, str], then: Exception | None = None) -> Callable[..., str]:
        @announced
        def work(workspace: Workspace, *, observer: Any = None) -> str:
            workspace.state.mkdir(exist_ok=True)
            if kind:
                workspace.journal.append("r", Kind.RUN_STARTED, "", {"kind": kind})
            for run, outcome in ends:
                workspace.journal.append(run, Kind.RUN_ENDED, "", {"outcome": outcome})
            if then is not None:
                raise then
            return "done"

        return work


@pytest.mark.parametrize(
    ("kind", "outcome", "then", "event"),
    [
        ("upgrade", "done", None, "cut-over"),
        ("upgrade", "put-back", PutBack("disk full"), "put-back"),
        ("upgrade", "open", NeedsPerson("who wrote?", hint="look"), "needs-person"),
        ("upgrade", "put-back", None, "put-back"),
        ("upgrade", "finalized", None, "window-closed"),
        ("rollback", "done", None, "rolled-back"),
        ("rehearsal", "done", None, None),
        ("upgrade", "done", Refused("no"), None),
        ("", "", None, None),
    ],
)
def test_the_end_of_a_run_is_told(
    tmp_path: Path, kind: str, outcome: str, then: Exception | None, event: str | None
) -> None:
    with hook() as server:
        found = workspace(tmp_path, receiver(server.url()))
        work = Life(found).run(kind, *([("r", outcome)] if outcome else []), then=then)
        if then is None:
            assert work(found) == "done"
        else:
            with pytest.raises(type(then)):
                work(found)
    assert events(server) == ([event] if event else [])
    if event:
        noted = found.journal.notes("r")[f"told:{event}"]
        assert noted == {"told": [{"receiver": "receiver 1 (webhook, owner)", "problem": ""}]}
        assert server.bodies()[0]["run"] == "r"
        assert account.issues(found.journal.entries()) == ()
        found.journal.verify()


def test_nobody_reached_changes_nothing_and_is_in_the_evidence(tmp_path: Path) -> None:
    found = workspace(tmp_path, receiver(f"http://127.0.0.1:{free_port()}/x"))
    said: list[Progress] = []
    assert Life(found).run("upgrade", ("r", "done"))(found, observer=said.append) == "done"
    assert len(said) == 1 and "not told of cut-over" in said[0].work
    assert "was not told of cut-over" in account.issues(found.journal.entries())[0]
    assert enter(found, Release(version="3.17.2"))["told"][0]["problem"]


def test_a_plan_is_told_once_for_the_same_way_and_again_when_nobody_was_reached(tmp_path: Path) -> None:
    made = given(deployment({})).plan
    with hook() as server:
        found = workspace(tmp_path, receiver(server.url(), "plan-ready"))
        for each in (made, msgspec.structs.replace(made, id="plan-1"), msgspec.structs.replace(made, id="plan-2")):
            plan_ready(found, each)
        plan_ready(found, msgspec.structs.replace(made, deployment_digest="other"))
        assert events(server) == ["plan-ready", "plan-ready"]
        assert f"{made.id} is ready" in server.bodies()[0]["text"]
    other = tmp_path / "other"
    other.mkdir()
    found = workspace(other, receiver(f"http://127.0.0.1:{free_port()}/x", "plan-ready"))
    assert all(each.problem for _ in range(2) for each in plan_ready(found, made)) and plan_ready(found, made)


def test_a_way_back_that_has_been_open_long_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hook() as server:
        found = workspace(tmp_path, f"[notify]\nwindow_hours = 72\n{receiver(server.url())}")
        found.state.mkdir(exist_ok=True)
        found.journal.append("r", Kind.RUN_STARTED, "", {"kind": "upgrade", "from": "2.9.2", "to": "3.17.2"})
        found.journal.append("r", Kind.RUN_ENDED, "", {"outcome": "done"})
        ended = found.journal.run("r").ended_at
        assert ended is not None
        for hours in (71, 73, 74):
            monkeypatch.setattr(clock, "now", lambda hours=hours: ended + timedelta(hours=hours))
            due(found)
        assert events(server) == ["window-closing"]
        assert "from MLflow 3.17.2 to 2.9.2 is open since" in server.bodies()[0]["text"]
        found.journal.append("r", Kind.RUN_ENDED, "", {"outcome": "finalized"})
        assert due(found) == ()
    assert due(workspace(tmp_path, receiver(server.url()))) == (), "nobody asked to be reminded"


def test_a_freeze_and_an_override_are_told(tmp_path: Path) -> None:
    with hook() as server:
        found = workspace(tmp_path, receiver(server.url()))
        decide(found, DecisionKind.FREEZE, reason="end of quarter")
        decide(found, DecisionKind.OVERRIDE, release=Release(version="3.17.2"), reason="CVE")
        enter(found, Release(version="3.17.2"))
    assert events(server) == ["freeze", "started"]
    assert "end of quarter" in server.bodies()[0]["text"]
    assert "past a shut gate: CVE" in server.bodies()[1]["text"]


@pytest.mark.parametrize(
    ("section", "word"),
    [
        ('[[notify.receivers]]\nkind = "pigeon"\n', "pigeon"),
        ('[[notify.receivers]]\nkind = "apprise"\nevents = ["tea"]\n', "tea"),
        ('[[notify.receivers]]\nkind = "apprise"\nhook = "x"\n', "hook"),
        ("[notify]\nreceiver = 1\n", "receiver"),
    ],
)
def test_a_section_that_does_not_fit_is_refused_when_it_is_read(tmp_path: Path, section: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        workspace(tmp_path, section)
    assert (
        word in caught.value.message and "notify" in caught.value.message and "liftlock.toml:" in caught.value.message
    )
