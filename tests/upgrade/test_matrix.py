"""Real releases to the newest one and back, on both engines. The oracle is MLflow's own command line.

Columns that hold the moment of a migration differ between any two runs of it; `CLOCKS` names them with the revision.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from liftlock.app import upgrade as life
from liftlock.app.plan_report import gather
from liftlock.app.planning import make_plan
from liftlock.app.rehearse import rehearse
from liftlock.app.workspace import Workspace
from liftlock.backup import catalog
from liftlock.demo.postgres import PostgresServer
from liftlock.errors import Refused
from liftlock.model.codec import from_builtins
from liftlock.model.deployment import Role
from liftlock.model.finding import Finding
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.journal import RunOutcome
from liftlock.model.plan import Strategy
from liftlock.model.uri import StoreUri
from liftlock.stores.interface import Store
from tests.support import plans, releases, upgrades
from tests.support.upgrades import WRITE

CLOCKS = {("jobs", "last_update_time")}  # dc11669786a5: jobs that were not finished are cancelled now


@dataclass(frozen=True)
class Case:
    source: str
    engine: str
    auth: bool = False
    rehearsed: bool = False

    def __str__(self) -> str:
        return f"{self.source}-{self.engine}{'-auth' if self.auth else ''}"


# What the populated tables lose in a hop (all of it to 75868b020152): exactly this, and nothing else may change.
CHANGED: dict[str, set[str]] = {
    "2.9.2": set(),
    "2.22.5": {"trace_tags"},
    "3.4.0": {"trace_tags"},
    "3.16.1": {"trace_tags", "trace_request_metadata", "trace_metrics", "span_metrics"},
}

# The two in `make soak` have their release on the other engine here, and their engine with other releases.
SOAK = {("3.4.0", "sqlite"), ("2.9.2", "postgresql")}
CASES = [
    Case("2.9.2", "sqlite", auth=True, rehearsed=True),
    Case("2.22.5", "sqlite"),
    Case("3.4.0", "sqlite"),
    Case("3.16.1", "sqlite"),
    Case("2.9.2", "postgresql"),
    Case("2.22.5", "postgresql", auth=True),
    Case("3.4.0", "postgresql"),
    Case("3.16.1", "postgresql"),
]


def marked(case: Case) -> object:
    marks = [pytest.mark.xdist_group(f"upgrade-{case.engine}")]
    if (case.source, case.engine) in SOAK:
        marks.append(pytest.mark.soak)
    return pytest.param(case, id=str(case), marks=marks)


@pytest.mark.release
@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_up_and_back(case: Case, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    server: PostgresServer | None = request.getfixturevalue("postgres") if case.engine == "postgresql" else None
    target = releases.newest()
    with upgrades.deployment(case.source, tmp_path, server=server, auth=case.auth) as made:
        old = made.workspace
        before = upgrades.fingerprints(old.stores)
        schema = {role: store.schema_dump() for role, store in old.stores.items()}
        read = made.read(case.source)
        assert read["runs"]
        assert read["versions"]
        if case.rehearsed:
            rehearsal = rehearse(old, target)
            assert not [each for each in rehearsal.findings if each.needs_attention]
            assert same(old.stores, before)
        copies = {role: upgrades.copied(uri, role, server) for role, uri in made.uris.items()}
        plan = make_plan(old, target)
        report = gather(old, plan)
        assert plan.strategy is Strategy.STANDARD
        assert bool(plan.jump.auth) is (case.auth and case.source != "3.16.1")

        done = life.upgrade(old, plan)

        assert done.outcome is RunOutcome.DONE
        assert attention(done) == []
        assert changed(done) == CHANGED[case.source]
        plans.agrees(report, done)
        new = made.workspace
        assert new.config.server.release == target
        as_the_command_line_does(new, done, target, copies)

        written = made.client(target, WRITE)
        _, since = life.preview_rollback(new)
        assert any(line.startswith(written) for line in since.runs)
        assert "tracking.runs" in since.tables

        back = life.rollback(new)

        assert back.outcome is RunOutcome.DONE
        assert attention(back) == []
        again = made.workspace
        assert again.config.server.release == case.source
        assert same(again.stores, before)
        assert {role: store.schema_dump() for role, store in again.stores.items()} == schema
        assert made.read(case.source) == read
        assert saved_runs(again, str(back.results["save-new"]["set"]), written) == 1
        with pytest.raises(Refused):
            life.preview_rollback(again)


@pytest.mark.release
@pytest.mark.xdist_group("upgrade-sqlite")
def test_in_place_and_back(tmp_path: Path) -> None:
    source, target = "3.17.1", releases.newest()
    with upgrades.deployment(source, tmp_path, server=None, auth=False) as made:
        before = upgrades.fingerprints(made.workspace.stores)
        plan = make_plan(made.workspace, target)
        assert plan.strategy is Strategy.IN_PLACE
        done = life.upgrade(made.workspace, plan)
        assert attention(done) == []
        assert same(made.workspace.stores, before)
        written = made.client(target, WRITE)

        back = life.rollback(made.workspace)

        assert attention(back) == []
        assert not [name for name in back.results if name.startswith("restore")]
        assert made.workspace.config.server.release == source
        assert written in made.read(source)["runs"], "a way back without restoring keeps what was written"


def as_the_command_line_does(new: Workspace, done: life.Summary, target: str, copies: dict[Role, StoreUri]) -> None:
    """The state right after the migration, and the state now, equal a plain copy after `mlflow db upgrade`."""
    verified = new.journal.run(done.run).step("verify-data")
    assert verified is not None
    for role, copy in copies.items():
        expected, store = upgrades.migrated_by_hand(copy, role, target), new.stores[role]
        assert store.schema_dump() == expected.schema_dump()
        assert store.revision() == expected.revision()
        columns = {
            table: tuple(name for name in names if (table, name) not in CLOCKS)
            for table, names in expected.columns().items()
        }
        assert differences(store.fingerprint(columns=columns), expected.fingerprint(columns=columns)) == []
        after = from_builtins(verified.outcome["after"][role.value], Fingerprint)
        assert set(after.differences(expected.fingerprint())) <= {table for table, _ in CLOCKS}


def differences(ours: Fingerprint, theirs: Fingerprint) -> list[str]:
    """Tables that differ, the engine's counters of ids left out: the smoke's rows come and go, its numbers do not."""
    return [table for table in ours.differences(theirs) if table not in ("sqlite_sequence", "(sequences)")]


def same(stores: dict[Role, Store], before: dict[Role, Fingerprint]) -> bool:
    return not [name for role, store in stores.items() for name in differences(before[role], store.fingerprint())]


def attention(done: life.Summary) -> list[str]:
    findings = [from_builtins(each, Finding) for result in done.results.values() for each in result.get("findings", ())]
    assert findings
    return [f"{each.title}: {each.message}" for each in findings if each.needs_attention]


def changed(done: life.Summary) -> set[str]:
    """Tables whose old rows the migration changed, as liftlock says."""
    findings = [from_builtins(each, Finding) for each in done.results["verify-data"]["findings"]]
    return {each.title.rpartition(" ")[2] for each in findings if "as expected" in each.message}


def saved_runs(workspace: Workspace, set_id: str, run: str) -> int:
    """Restore the tracking database of a set beside the live one and count a run in it."""
    found = catalog.find(workspace.config.backup_directory, set_id)
    assert found.verified_at is not None
    saved = found.store(Role.TRACKING)
    assert saved is not None
    scratch = workspace.stores[Role.TRACKING].scratch("look")
    try:
        catalog.opened(
            workspace.config.backup_directory, found, saved, lambda directory: scratch.restore(saved, directory)
        )
        return len(list(scratch.rows("SELECT run_uuid FROM runs WHERE run_uuid = :run", {"run": run})))
    finally:
        scratch.drop()
