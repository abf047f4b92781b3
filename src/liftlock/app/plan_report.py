"""A plan with everything known beside it: `compose` is pure; `gather` looks at the deployment, scan and traffic."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from liftlock import clock
from liftlock.app.advisories import advise
from liftlock.app.catalogue import current
from liftlock.app.clients import gate_logs, read_logs
from liftlock.app.plan_line import changed_defaults, new_options, own_line, own_words
from liftlock.app.plan_risks import checks, risks
from liftlock.app.way import migration
from liftlock.app.workspace import Workspace
from liftlock.errors import UsageError
from liftlock.knowledge import (
    behaviours,
    breaks,
    compatibility,
    constraints,
    costs,
    fates,
    features,
    revisions,
    schema,
    stops,
)
from liftlock.knowledge.advisories import Report as AdvisoryReport
from liftlock.knowledge.catalogue import Catalogue
from liftlock.knowledge.catalogue_diff import diff
from liftlock.knowledge.fates import Seen, endpoints_of
from liftlock.model.codec import Value
from liftlock.model.deployment import Deployment, StoreFacts
from liftlock.model.plan import Estimate, Origin, Plan
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.report.plan_content import Floor, Migration, Noticed, PlanReport, Room, Used

_PLACES = 5
_QUIET = ("deprecated", "partial", "unknown")


class Given(Value, frozen=True):
    """What a report is made from. `python` is the version the old server runs on; `used` what a scan found and `seen`
    the clients in a log, each None when nobody gave one; `notes` says what could not be looked at."""

    plan: Plan
    deployment: Deployment
    now: datetime
    python: str
    advisories: AdvisoryReport
    room: tuple[Room, ...]
    used: tuple[Used, ...] | None = None
    seen: tuple[Seen, ...] | None = None
    notes: tuple[str, ...] = ()


def compose(given: Given, catalogue: Catalogue) -> PlanReport:
    """The report. Pure: the same facts and the same catalogue give the same report.

    Raises ReleaseError when the catalogue does not know one of the two releases.
    """
    jump, deployment = given.plan.jump, given.deployment
    source, target = catalogue.require(jump.source), catalogue.require(jump.target)
    needed = stops.between(source, target)
    table = compatibility.load()
    report = PlanReport(
        plan=given.plan, made_at=given.now, catalogue=catalogue.contents.made, stops=needed,
        why_stops="; ".join(f"{stop.at}: {stop.reason}" for stop in needed) or stops.NONE,
        migrations=_migrations(given.plan, deployment, catalogue),
        floors=_floors(given, catalogue), dependencies=_dependencies(catalogue, source, target),
        line=own_line(catalogue, deployment.server, target), new_options=new_options(catalogue, source, target),
        defaults=changed_defaults(catalogue, deployment.server, target),
        breaks=breaks.between(source, target), used=given.used, behaviours=_noticed(source, target, deployment),
        changes=_counted(catalogue, source, target), fates=_fates(given.seen, source, target, table, catalogue),
        old_clients=tuple(
            compatibility.judge(table, client, target)
            for client in sorted({*table.clients, source, target}, key=lambda each: each.key) if client <= target
        ),
        new_clients=fates.newer_clients(source, target, table), measured=table.made, advisories=given.advisories,
        room=given.room, features=features.between(source, target, features.uses_of(deployment)),
        risks=(), checks=(), unknown=_unknown(given),
    )  # fmt: skip
    return msgspec.structs.replace(
        report, risks=risks(report, deployment), checks=checks(report, deployment)
    )  # fmt: skip


@functools.lru_cache(maxsize=8)
def _counted(catalogue: Catalogue, source: Release, target: Release) -> dict[str, dict[str, int]]:
    """How many facts of each section were added, removed and changed."""
    found: dict[str, dict[str, int]] = {}
    for change in diff(catalogue, source, target).changes:
        counts = found.setdefault(change.section, {})
        counts[change.what.value] = counts.get(change.what.value, 0) + 1
    return found


def gather(workspace: Workspace, plan: Plan, *, scan: Path | None = None, logs: Sequence[Path] = ()) -> PlanReport:
    """Look at what the plan does not hold and compose. Without `logs` the gate's own log is read, if there is one.

    Raises UsageError for a scan or a log that cannot be read, ReleaseError for a release the catalogue does not know.
    """
    catalogue, warning = current()
    catalogue.require(plan.jump.target)  # before any work is done for nothing
    deployment = workspace.deployment()
    chosen = tuple(logs) or gate_logs(workspace.state / "gate")
    return compose(
        Given(
            plan=plan, deployment=deployment, now=clock.now(),
            python=workspace.environments.observe(workspace.config.python).python_version,
            advisories=advise(None, plan.jump.target.version, said={}, deployment=deployment),
            room=_room(workspace, deployment), used=read_scan(scan) if scan is not None else None,
            seen=read_logs(chosen, endpoints_of(catalogue)).clients if chosen else None,
            notes=(warning,) if warning else (),
        ),
        catalogue,
    )  # fmt: skip


def read_scan(path: Path) -> tuple[Used, ...]:
    """What `liftlock scan --json` found, by name: what breaks first. Raises UsageError with the file and the reason."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno}: {error.msg}", hint="Make it with `scan --json`.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error.reason}") from error
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    try:
        for entry in data:
            if entry["verdict"] not in _QUIET:
                grouped.setdefault((entry["verdict"], entry["symbol"]), []).append(entry)
        used = [
            Used(
                symbol=symbol, verdict=verdict, changed_in=str(some[0]["changed_in"]), count=len(some),
                places=tuple(f"{each['path']}:{each['line']}" for each in some[:_PLACES]),
                replacement=str(some[0]["replacement"]), message=str(some[0]["message"]),
            )
            for (verdict, symbol), some in grouped.items()
        ]  # fmt: skip
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not the result of a scan: {type(error).__name__}: {error}", hint="Make it with `scan --json`."
        ) from error
    order = {"breaks": 0, "broken": 1, "behaviour": 2}
    return tuple(sorted(used, key=lambda each: (order.get(each.verdict, 3), -each.count, each.symbol)))


def _migrations(plan: Plan, deployment: Deployment, catalogue: Catalogue) -> tuple[Migration, ...]:
    found: list[Migration] = []
    for store in deployment.stores:
        chain = revisions.chain_name(store.role)
        names = plan.jump.auth if chain == "auth" else plan.jump.tracking
        found += [_migration(store, chain, name, plan.jump.target, catalogue) for name in names]
    return tuple(found)


def _migration(store: StoreFacts, chain: str, name: str, target: Release, catalogue: Catalogue) -> Migration:
    known = migration(catalogue, chain, name, target) if catalogue.fact(chain, name, target) is not None else None
    effect, recorded = schema.effect(store.role, name), revisions.revision(store.role, name).recorded
    measured = costs.measured(store.role, name, store.engine)
    rows = {table.name: table.rows for table in store.tables}
    touched = set(effect.rows) if effect else set()
    if recorded is not None:
        work = recorded.work.get(store.engine)
        touched |= {
            *recorded.changed,
            *recorded.reads,
            *recorded.writes,
            *(work.rewritten if work else ()),
            *(work.indexed if work else ()),
        }
    removed = dict(recorded.removed) if recorded is not None else {}
    touched |= {*removed, *(effect.columns if effect else ())}
    price = costs.price(store.role, name, rows, store.engine)
    return Migration(
        role=store.role, revision=name, release=str(known.release) if known else "",
        title=known.title if known else "not in the catalogue",
        rows={table: rows.get(table, 0) for table in sorted(touched) if rows.get(table, 0)},
        rewrites=dict(effect.rows) if effect else {}, drops={**removed, **(effect.columns if effect else {})},
        seconds=Estimate(low=round(price.low, 2), high=round(price.high, 2), origin=Origin.COMPUTED)
        if price is not None else Estimate(low=None, high=None, origin=Origin.UNKNOWN),
        locks=measured.locked(rows) if measured is not None else {},
        aborts=tuple(each.planted for each in measured.aborts) if measured is not None else (),
        basis=price.basis if price is not None else "nobody measured it on this engine",
    )  # fmt: skip


def _floors(given: Given, catalogue: Catalogue) -> tuple[Floor, ...]:
    target = given.plan.jump.target
    runs_on = constraints.python_range(target)
    found = [
        Floor(
            what="Python", have=given.python or "unknown",
            want=f"{runs_on.minimum} to {runs_on.maximum} (declared {catalogue.python(target) or 'nothing'})",
            met=runs_on.holds(given.python) if given.python else None,
        )
    ]  # fmt: skip
    found += [
        Floor(what=trap.requirement, have="", want="kept by liftlock", met=True, reason=trap.reason)
        for trap in constraints.traps(target)
    ]
    return tuple(found)


def _noticed(source: Release, target: Release, deployment: Deployment) -> tuple[Noticed, ...]:
    used = features.uses_of(deployment)
    words = {*own_words(deployment.server), *deployment.server.environment}
    return tuple(
        Noticed(behaviour=each, spared=each.spared(used, words)) for each in behaviours.between(source, target)
    )


def _dependencies(catalogue: Catalogue, source: Release, target: Release) -> tuple[str, ...]:
    """Required dependencies that are new or have other bounds; those left to mlflow-skinny are looked past."""
    had, has = catalogue.section("dependencies", source), catalogue.section("dependencies", target)
    found = []
    for name in sorted(has):
        if "extra ==" in name or (name in had and had[name].value == has[name].value):
            continue
        before = f" (was {had[name].value or 'any'})" if name in had else " (new)"
        found.append(f"{name} {has[name].value or 'any'}{before}")
    return tuple(found)


def _fates(
    seen: Sequence[Seen] | None, source: Release, target: Release, table: compatibility.Table, catalogue: Catalogue
) -> tuple[fates.Fate, ...] | None:
    if seen is None:
        return None
    endpoints = endpoints_of(catalogue)
    judged = [fates.fate(each, source, target, table, endpoints) for each in seen]
    order = {compatibility.State.BREAKS: 0, compatibility.State.UNKNOWN: 1, compatibility.State.WORKS: 2}
    return tuple(sorted(judged, key=lambda each: (order[each.state], -each.seen.requests)))


def _unknown(given: Given) -> tuple[str, ...]:
    found = list(given.notes)
    if given.used is None:
        found.append("Which breaking changes your code uses: no scan was given (`plan --scan FILE`).")
    if given.seen is None:
        found.append("Who uses the server: no access log was given and no gate runs (`plan --clients LOG`).")
    if any(step.estimate.origin is not Origin.REHEARSED for step in given.plan.steps):
        found.append(
            "How long the steps take here that are not marked as rehearsed: computed from rates measured elsewhere."
        )
    if any(store.engine is Engine.POSTGRESQL for store in given.deployment.stores):
        found.append("The room on the database server's own disk: it cannot be seen from here.")
    if any(row.after.state.value == "unknown" for row in given.advisories.rows):
        found.append("Whether some advisories apply: `liftlock advisories` lists the conditions to answer.")
    return tuple(found)


def _room(workspace: Workspace, deployment: Deployment) -> tuple[Room, ...]:
    """What backups, the snapshot and SQLite's copies take, by file system."""
    needs: dict[int, tuple[Path, int]] = {}

    def add(path: Path, needed: int) -> None:
        while not path.exists():
            path = path.parent
        device = path.stat().st_dev
        place, so_far = needs.get(device, (path, 0))
        needs[device] = place, so_far + needed

    for store in deployment.stores:
        add(workspace.config.backup_directory, store.bytes)
        if store.engine is Engine.SQLITE:
            add(workspace.config.store_uri(store.role).path.parent, store.bytes)
    return tuple(
        Room(path=str(path), needed=needed, free=shutil.disk_usage(path).free) for path, needed in needs.values()
    )
