"""Environments in phases: the gate's questions one by one, and an upgrade that stops at it."""

from __future__ import annotations

import json
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liftlock import clock
from liftlock.app import environments
from liftlock.app.workspace import Workspace
from liftlock.engine.journal import Journal
from liftlock.errors import Refused, UsageError
from liftlock.evidence import bundle, proofs, signing
from liftlock.model.codec import from_builtins, to_builtins
from liftlock.model.evidence import CommandResult, DecisionKind, Predicate
from liftlock.model.finding import Outcome
from liftlock.model.journal import Kind
from liftlock.model.release import Release
from liftlock.model.watch import Watch
from tests.support.deployment import Deployment
from tests.support.evidence import needs_ssh_keygen, summary
from tests.support.receivers import hook
from tests.support.servers import free_port
from tests.support.stub_release import NEW, OLD

TARGET = Release(version="3.17.2")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
GOOD = {"code": "LLV020", "title": "health", "outcome": "pass"}
CHECKS = '[[tracking.checks]]\nname = "smoke"\ncommand = ["true"]\n'


def workspace(directory: Path, release: str, more: str = "") -> Workspace:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "liftlock.toml").write_text(
        f'format = 1\nname = "{directory.name}"\n[server]\nrelease = "{release}"\npython = "p"\n'
        f'working_directory = "."\n[stores]\ntracking = "sqlite:///m.db"\n{more}'
    )
    return Workspace.open(directory / "liftlock.toml")


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands until a test moves it."""
    monkeypatch.setattr(clock, "now", lambda: NOW)


def at(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(hours=hours))


def upgraded(directory: Path, *findings: dict[str, Any], outcome: str = "done", to: str = "3.17.2") -> Journal:
    """What an upgrade leaves in a journal."""
    journal = Journal(directory / ".liftlock" / "journal.db")
    (directory / ".liftlock").mkdir(exist_ok=True)
    run = f"upgrade-{len(journal.entries())}"
    journal.append(run, Kind.RUN_STARTED, "", {"kind": "upgrade", "to": to})
    journal.append(run, Kind.NOTE, "verify-live", {"findings": list(findings)})
    journal.append(run, Kind.RUN_ENDED, "", {"outcome": outcome})
    return journal


def proof(outcome: Outcome = Outcome.PASS, hours: float = 1) -> CommandResult:
    return CommandResult(
        kind="check", name="smoke", command=("true",), expected="status 0", at=NOW + timedelta(hours=hours), by="me",
        seconds=0.1, status=0, outcome=outcome, message="", output="",
    )  # fmt: skip


@pytest.fixture
def prod(tmp_path: Path) -> Workspace:
    workspace(tmp_path / "staging", "3.17.2", CHECKS)
    after = '[[environments.after]]\nname = "staging"\nconfig = "../staging/liftlock.toml"\nsoak_hours = 24\n'
    return workspace(tmp_path / "prod", "2.9.2", f'[environments]\nname = "prod"\napprovals = 2\n{after}')


def failed(prod: Workspace) -> dict[str, str]:
    return {
        f"{each.code} {each.title}": each.message
        for each in environments.gate(prod, TARGET)
        if each.outcome is not Outcome.PASS
    }


def approve(prod: Workspace, *names: str) -> None:
    for name in names:
        environments.decide(prod, DecisionKind.APPROVE, release=TARGET, by=name)


def test_a_green_gate_opens_and_the_journal_gets_who_and_when(
    prod: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgraded(tmp_path / "staging", GOOD)
    proofs.Proofs(tmp_path / "staging/.liftlock/proofs").keep(proof())
    at(monkeypatch, 24)
    approve(prod, "Jane", "Joe")
    entered = environments.enter(prod, TARGET)
    assert entered["environment"] == "prod" and all(each["outcome"] == "pass" for each in entered["findings"])
    assert {each["by"].split(",")[0] for each in entered["decisions"]} == {"Jane", "Joe"}
    assert {each["at"] for each in entered["decisions"]} == {"2026-05-02T12:00:00Z"}


def test_every_question_can_shut_it(prod: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = tmp_path / "staging"
    assert "no upgrade to it was made there" in failed(prod)["LLP002 staging"]
    upgraded(staging, GOOD)
    at(monkeypatch, 23.9)
    approve(prod, "Jane")
    approve(prod, "Jane")
    assert failed(prod) == {
        "LLP002 staging: soak": "24 hours are over at 2026-05-02 12:00 UTC",
        "LLP004 staging: proofs": "smoke was not run",
        "LLP005 approvals": "1 of 2",
    }
    kept = proofs.Proofs(staging / ".liftlock/proofs")
    kept.keep(proof(hours=-1))
    assert failed(prod)["LLP004 staging: proofs"] == "smoke was not run"  # before the upgrade proves nothing of it
    kept.keep(proof(Outcome.FAIL))
    assert failed(prod)["LLP004 staging: proofs"] == "smoke: fail"
    environments.decide(prod, DecisionKind.FREEZE, reason="end of quarter")
    assert "end of quarter" in failed(prod)["LLP001 freeze"]
    at(monkeypatch, 23.95)
    environments.decide(prod, DecisionKind.THAW)
    assert "LLP001 freeze" not in failed(prod)
    at(monkeypatch, 23.96)
    environments.decide(prod, DecisionKind.FREEZE, reason="x", until=NOW + timedelta(hours=24))
    assert "until 2026-05-02 12:00 UTC" in failed(prod)["LLP001 freeze"]
    at(monkeypatch, 24)
    assert not {"LLP001 freeze", "LLP002 staging: soak"} & failed(prod).keys()
    with pytest.raises(Refused, match="the gate of prod is shut") as caught:
        environments.enter(prod, TARGET)
    assert "override" in caught.value.hint


@pytest.mark.parametrize(
    ("findings", "outcome", "said"),
    [
        ([], "done", "nothing was verified"),
        ([{**GOOD, "outcome": "fail", "message": "down"}], "done", "down"),
        ([{**GOOD, "outcome": "unknown", "message": "who knows"}], "done", "who knows"),
        ([GOOD], "put-back", "the upgrade there: put-back"),
        ([GOOD], "rolled-back", "the upgrade there: rolled-back"),
    ],
)
def test_what_is_not_proven_does_not_pass(
    prod: Workspace, tmp_path: Path, findings: list[dict[str, Any]], outcome: str, said: str
) -> None:
    upgraded(tmp_path / "staging", *findings, outcome=outcome)
    assert any(said in message for message in failed(prod).values()), failed(prod)


def test_a_journal_that_was_edited_proves_nothing(prod: Workspace, tmp_path: Path) -> None:
    upgraded(tmp_path / "staging", GOOD)
    with sqlite3.connect(tmp_path / "staging/.liftlock/journal.db") as connection:
        connection.execute("UPDATE entry SET payload = '{}' WHERE seq = 2")
    unknown = [each for each in environments.gate(prod, TARGET) if each.outcome is Outcome.UNKNOWN]
    assert len(unknown) == 1 and "changed or removed" in unknown[0].message and unknown[0].blocks


def test_an_override_counts_once(prod: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        environments.decide(prod, DecisionKind.OVERRIDE, release=TARGET, reason=" ")
    environments.decide(prod, DecisionKind.OVERRIDE, release=TARGET, reason="a CVE\nis used")
    entered = environments.enter(prod, TARGET)
    assert entered["decisions"][0]["reason"] == "a CVE is used"
    assert any(each["outcome"] == "fail" for each in entered["findings"])
    with pytest.raises(Refused):
        environments.enter(prod, Release(version="3.17.1"))  # it was about another release
    at(monkeypatch, 1)
    upgraded(tmp_path / "prod", GOOD, outcome="put-back")
    with pytest.raises(Refused):
        environments.enter(prod, TARGET)


def watched(hours: float = 24, **changes: Any) -> Watch:
    values: dict[str, Any] = {
        "run": "r", "release": "3.17.2", "by": "me", "began_at": NOW, "until": NOW + timedelta(hours=hours),
        "requests": 5000, "findings": (GOOD,), **changes,
    }  # fmt: skip
    return from_builtins(values, Watch)


_WORSE = {"code": "LLW003", "title": "p95", "outcome": "fail", "message": "40 ms -> 80 ms"}


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        (None, "nobody watched it"),
        (watched(23), "watched for 23.0 of 24 hours"),
        (watched(findings=(_WORSE,)), "it found something: p95: 40 ms -> 80 ms"),
        (watched(findings=({**_WORSE, "outcome": "unknown"},)), "it found something: p95"),
        (watched(breached_at=NOW), "it found something to act on"),
        (watched(findings=({**_WORSE, "severity": "warning"},)), ""),
        (watched(), ""),
    ],
)
def test_the_watch_of_the_earlier_environment_is_asked_for_where_configured(
    tmp_path: Path, watch: Watch | None, said: str
) -> None:
    workspace(tmp_path / "staging", "3.17.2")
    journal = upgraded(tmp_path / "staging", GOOD)
    if watch is not None:
        journal.append("upgrade-0", Kind.NOTE, "watch", to_builtins(watched(1, findings=(_WORSE,))))
        journal.append("upgrade-0", Kind.NOTE, "watch", to_builtins(watch))
    after = '[[environments.after]]\nname = "staging"\nconfig = "../staging/liftlock.toml"\n'
    asked = f'[environments]\nname = "prod"\n{after}'
    prod = workspace(tmp_path / "prod", "2.9.2", asked + "watch_hours = 24\n")
    problems = failed(prod)
    assert set(problems) == ({"LLP006 staging: watch"} if said else set())
    assert said in problems.get("LLP006 staging: watch", "")
    assert failed(workspace(tmp_path / "other", "2.9.2", asked)) == {}, "nobody asked for it"


def test_without_a_section_nothing_is_asked(tmp_path: Path) -> None:
    alone = workspace(tmp_path / "alone", "2.9.2")
    assert environments.gate(alone, TARGET) == () and environments.enter(alone, TARGET) == {}
    with pytest.raises(UsageError, match=r"no \[environments\]"):
        environments.decide(alone, DecisionKind.APPROVE, release=TARGET)


def carried(directory: Path, name: str, key: Path, when: datetime, **changes: Any) -> Path:
    contents = bundle.Contents()
    made = summary(environment="staging", verification=(GOOD,), **changes)
    contents.json(bundle.SUMMARY_FILE, made)
    contents.text(bundle.JOURNAL_FILE, "")
    predicate = Predicate(
        run="r", deployment="d", created_at=when, created_by="x", liftlock="0", key="", journal_entries=0,
        journal_head="0" * 64,
    )  # fmt: skip
    return bundle.seal(directory / name, contents, predicate, key)


def test_the_other_environment_may_be_another_machine(tmp_path: Path) -> None:
    """Its signed evidence is carried over; what was changed on the way or signed by another opens nothing."""
    needs_ssh_keygen()
    key = signing.ensure_key(tmp_path / "staging-key", owner="staging")
    place = tmp_path / "carried"
    place.mkdir()
    after = (
        f'[environments]\nname = "prod"\n[[environments.after]]\nname = "staging"\nevidence = "{place}"\n'
        f'key = "{key}.pub"\n'
    )
    prod = workspace(tmp_path / "prod", "2.9.2", after)
    assert "no evidence of staging" in failed(prod)["LLP002 staging"]
    carried(place, "other", key, NOW, target="3.16.0")
    assert "no evidence of staging" in failed(prod)["LLP002 staging"]
    carried(place, "first", key, NOW, proofs=(msgspec.structs.replace(proof(), when="after"),), checks=("smoke",))
    assert failed(prod) == {}
    later = carried(place, "second", key, NOW + timedelta(hours=1), checks=("smoke",))
    assert failed(prod) == {"LLP004 staging: proofs": "smoke was not run"}
    text = (later / "summary.json").read_text()
    (later / "summary.json").write_text(text.replace('"smoke"', ""))
    assert "summary.json was changed" in failed(prod)["LLP002 staging"]
    (later / "statement.json").unlink()
    forger = signing.ensure_key(tmp_path / "forger-key", owner="staging")
    carried(place, "third", forger, NOW + timedelta(hours=2))
    assert "not to be believed" in failed(prod)["LLP002 staging"]
    with pytest.raises(UsageError, match="needs config, or evidence and key"):
        environments.gate(workspace(tmp_path / "bad", "2.9.2", after.replace("key = ", "# ")), TARGET)


def test_a_damaged_decision_is_named(prod: Workspace) -> None:
    approve(prod, "Jane")
    next((prod.config.state_directory / "decisions").glob("*.json")).write_text("{")
    with pytest.raises(Refused, match="is damaged"):
        environments.gate(prod, TARGET)


def test_an_upgrade_stops_at_the_gate_and_tells_when_it_goes_past(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path / "prod")
    word = f"canary-{uuid.uuid4().hex}"
    try:
        deployment.make()
        workspace(tmp_path / "staging", OLD)
        with hook() as server:
            with deployment.config.open("a") as file:
                file.write('[environments]\nname = "prod"\n[[environments.after]]\nname = "staging"\n')
                file.write('config = "../staging/liftlock.toml"\n')
                file.write(f'[[notify.receivers]]\nkind = "webhook"\nurl = "{server.url()}"\n')
                file.write(
                    f'[[notify.receivers]]\nkind = "apprise"\nurl = "json://127.0.0.1:{free_port()}/${{HOOK}}"\n'
                )
            entries = len(deployment.journal().entries())
            refused = deployment.liftlock("upgrade", "--to", NEW, "--yes")
            assert refused.returncode == 3 and "the gate of prod is shut" in refused.stderr
            assert (deployment.version(), len(deployment.journal().entries())) == (OLD, entries)
            assert deployment.liftlock("environments", "status", "--to", NEW).returncode == 1
            said = deployment.ok("environments", "override", "--to", NEW, "--reason", "CVE", "--by", "Jane", "--json")
            assert json.loads(said)["kind"] == "override"
            done = deployment.liftlock("upgrade", "--to", NEW, "--yes", env={"HOOK": word})
            assert done.returncode == 0 and deployment.version() == NEW
            # what liftlock knows of by itself; one receiver is not reached, so the status is 1
            assert deployment.liftlock("notify", "send", "plan-ready").returncode == 1
            assert deployment.liftlock("notify", "send", "window-closing").returncode == 1
            assert deployment.liftlock("notify", "send", "freeze").returncode == 2
        events = {each["event"]: each["text"] for each in server.bodies()}
        assert list(events) == ["started", "cut-over", "plan-ready", "window-closing"]
        assert f"MLflow {OLD} to {NEW}, strategy standard" in events["plan-ready"]
        assert f"from MLflow {NEW} to {OLD} is open since" in events["window-closing"]
        assert "past a shut gate: CVE" in server.bodies()[0]["text"]
        assert done.stderr.count("receiver 2 (apprise) was not told of") == 2
        assert word not in done.stdout + done.stderr
        state = deployment.journal().runs()[-1]
        begun = state.payload["phase"]
        assert [(each["kind"], each["reason"]) for each in begun["decisions"]] == [("override", "CVE")]
        assert any(each["outcome"] == "fail" for each in begun["findings"])
        assert [each["problem"] == "" for each in begun["told"]] == [True, False]
        assert word not in repr(deployment.journal().entries())
        # the sections outlive the upgrade, which writes liftlock.toml anew
        config = Workspace.open(deployment.config).config
        assert config.environments is not None and config.notify is not None and len(config.notify.receivers) == 2
        assert config.notify.receivers[1].url.endswith("${HOOK}")
    finally:
        deployment.end()
