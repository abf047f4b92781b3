"""The risk table and the checks left to a person, computed from what a plan report found. Pure."""

from __future__ import annotations

from liftlock.knowledge.advisories import State as Open
from liftlock.knowledge.compatibility import State
from liftlock.knowledge.fates import Fate
from liftlock.model.deployment import Deployment
from liftlock.model.plan import Origin, Plan, Strategy
from liftlock.model.release import Release
from liftlock.report.document import listed
from liftlock.report.plan_content import Floor, Level, LineState, LineWord, Migration, PlanReport, Risk, Room, Used
from liftlock.report.text import estimate

DISK_RESERVE = 2.5
_HOSTS_CHECKED = Release(version="3.5.0")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def risks(report: PlanReport, deployment: Deployment) -> tuple[Risk, ...]:
    """All risks, heaviest first. Nothing here is a feeling: each names the findings it comes from."""
    plan = report.plan
    found = [_window(plan), _code(report.used, len(report.breaks)), _clients(report.fates, report)]
    found += _migration(plan, report.migrations)
    found += _return(report)
    found += _disk(report.room)
    found += _line(report.line)
    found += _hosts(plan, deployment)
    found += _floors(report.floors)
    found += _advisories(report)
    return tuple(sorted(found, key=lambda risk: (-risk.weight, risk.what)))


def new_breaks(fate: Fate) -> tuple[str, ...]:
    """What breaks for a client that works today."""
    return tuple(each for each in (*fate.gone, *fate.broken) if each not in fate.already)


def _window(plan: Plan) -> Risk:
    origin, high = plan.window.origin, plan.window.high
    likelihood = {Origin.REHEARSED: Level.LOW, Origin.COMPUTED: Level.MEDIUM, Origin.UNKNOWN: Level.HIGH}[origin]
    impact = Level.HIGH if high is None or high > 900 else Level.MEDIUM if high > 60 else Level.LOW
    return Risk(
        what="writes are held for longer than planned", likelihood=likelihood, impact=impact,
        because=f"the window is {estimate(plan.window)}",
        answer="liftlock rehearse measures it on a copy" if origin is not Origin.REHEARSED else "it was rehearsed",
    )  # fmt: skip


def _migration(plan: Plan, migrations: tuple[Migration, ...]) -> list[Risk]:
    if not migrations:
        return []
    rehearsed = any(step.estimate.origin is Origin.REHEARSED for step in plan.steps if step.name.startswith("migrate"))
    rewriting = [each for each in migrations if any(each.rows.get(table) for table in (*each.rewrites, *each.drops))]
    likelihood = Level.LOW if rehearsed else Level.HIGH if len(rewriting) > 2 else Level.MEDIUM
    because = f"{len(migrations)} migrations, {len(rewriting)} of them change or drop values in rows that are here"
    if not rehearsed:
        because += "; not rehearsed on this database"
    else:
        because += "; rehearsed on a copy of this database"
    return [
        Risk(
            what="a migration fails on this database's rows", likelihood=likelihood, impact=Level.MEDIUM,
            because=because, answer="a snapshot, restored and compared beforehand, is put back",
        )
    ]  # fmt: skip


def _code(used: tuple[Used, ...] | None, breaks: int) -> Risk:
    what = "code of your own fails with the new release"
    if used is None:
        return Risk(
            what=what, likelihood=Level.MEDIUM, impact=Level.HIGH,
            because=f"{breaks} breaking changes are known, and no scan says which of them are used",
            answer="liftlock scan --json, then plan --scan FILE",
        )  # fmt: skip
    broken = [each for each in used if each.verdict == "breaks"]
    names = listed([each.symbol for each in broken], 3)
    return Risk(
        what=what, likelihood=Level.HIGH if broken else Level.LOW, impact=Level.HIGH if broken else Level.LOW,
        because=f"the scan found {len(broken)} that break: {names}" if broken else "the scan found nothing that breaks",
        answer="liftlock scan --fix, and by hand what is left; then raise the clients" if broken else "none needed",
    )  # fmt: skip


def _clients(fates: tuple[Fate, ...] | None, report: PlanReport) -> Risk:
    what = "clients that run today fail with the new server"
    if fates is None:
        same = next((each for each in report.old_clients if each.client == report.plan.jump.source), None)
        works = same is not None and same.state is State.WORKS
        said = f"; clients of {same.client} {'work' if works else same.state.value} ({same.evidence})" if same else ""
        return Risk(
            what=what, likelihood=Level.LOW if works else Level.MEDIUM, impact=Level.HIGH,
            because=f"no traffic was looked at{said}", answer="liftlock clients --to, or plan --clients LOG",
        )  # fmt: skip
    breaking = [each for each in fates if each.state is State.BREAKS and new_breaks(each)]
    unclear = [each for each in fates if each.state is State.UNKNOWN]
    if breaking:
        names = listed([f"{each.seen.kind} {each.seen.version}".strip() for each in breaking], 3)
        return Risk(
            what=what, likelihood=Level.HIGH, impact=Level.HIGH,
            because=f"{len(breaking)} of {len(fates)} kinds of clients break: {names}",
            answer="raise these clients before the upgrade, or accept it with their owners",
        )  # fmt: skip
    return Risk(
        what=what, likelihood=Level.MEDIUM if unclear else Level.LOW, impact=Level.HIGH,
        because=f"{len(fates) - len(unclear)} of {len(fates)} kinds of clients seen work as before, "
        f"{len(unclear)} could not be told",
        answer="try the unclear ones against a rehearsal" if unclear else "none needed",
    )  # fmt: skip


def _return(report: PlanReport) -> list[Risk]:
    broken = [each for each in report.new_clients if each.state is State.BREAKS]
    found = []
    if broken:
        found.append(
            Risk(
                what="a rollback fails clients that were raised in the meantime",
                likelihood=Level.LOW,
                impact=Level.MEDIUM,
                because=f"clients {listed([str(each.client) for each in broken], 4)} break with "
                f"{report.plan.jump.source}: {listed(list(broken[-1].broken), 3)}",
                answer="server first; raise the clients after finalize",
            )
        )
    if report.plan.strategy is Strategy.STANDARD:
        found.append(
            Risk(
                what="a rollback gives up what was written after the upgrade",
                likelihood=Level.LOW,
                impact=Level.HIGH,
                because="with `standard` the way back is the snapshot",
                answer="liftlock rollback lists the writes since and asks before anything is given up",
            )
        )
    return found


def _disk(room: tuple[Room, ...]) -> list[Risk]:
    short = [each for each in room if each.free < each.needed * DISK_RESERVE]
    if not short:
        return []
    return [
        Risk(
            what="a disk fills up",
            likelihood=Level.HIGH,
            impact=Level.MEDIUM,
            because=f"less than {DISK_RESERVE} times of what is needed is free in "
            f"{listed([each.path for each in short], 3)}",
            answer="make room, or point backup.directory to another disk; liftlock check refuses until then",
        )
    ]


def _line(line: tuple[LineWord, ...]) -> list[Risk]:
    gone = [each.word for each in line if each.state is LineState.GONE]
    if not gone:
        return []
    options = [word for word in gone if word.startswith("--")]
    return [
        Risk(
            what="the new server does not understand this deployment's own command line",
            likelihood=Level.HIGH,
            impact=Level.HIGH if options else Level.LOW,
            because=f"gone: {listed(gone, 4)}",
            answer="change server.arguments or server.environment in liftlock.toml",
        )
    ]


def _hosts(plan: Plan, deployment: Deployment) -> list[Risk]:
    crossed = plan.jump.source < _HOSTS_CHECKED <= plan.jump.target
    said = any(word.startswith(("--allowed-hosts", "--disable-security")) for word in deployment.server.arguments)
    if not crossed or said or "MLFLOW_SERVER_ALLOWED_HOSTS" in deployment.server.environment:
        return []
    loopback = deployment.server.host in _LOOPBACK
    return [
        Risk(
            what="requests through a public name are refused with status 403",
            likelihood=Level.LOW if loopback else Level.HIGH,
            impact=Level.HIGH,
            because="from 3.5 on the server answers to localhost and private addresses only, unless --allowed-hosts "
            f"names more; it listens on {deployment.server.host}",
            answer="name the public names in server.public_names: liftlock check and the verification ask through them",
        )
    ]


def _floors(floors: tuple[Floor, ...]) -> list[Risk]:
    unmet = [each for each in floors if each.met is False]
    if not unmet:
        return []
    return [
        Risk(
            what="the environment of today cannot take the new release",
            likelihood=Level.HIGH,
            impact=Level.LOW,
            because="; ".join(f"{each.what} {each.have} there, {each.want} wanted" for each in unmet),
            answer="liftlock builds an environment of its own; clients in the old one cannot be raised",
        )
    ]


def _advisories(report: PlanReport) -> list[Risk]:
    rows = report.advisories.rows
    left = [row for row in rows if row.change != "fixed"]
    gained = [row for row in left if row.change == "gained" and row.after.state in (Open.EXPOSED, Open.UNKNOWN)]
    exposed = [row for row in left if row.after.state is Open.EXPOSED]
    unclear = [row for row in left if row.after.state is Open.UNKNOWN]
    if gained:
        return [
            Risk(
                what="the new release is open to flaws the old one does not have",
                likelihood=Level.HIGH if any(row.after.state is Open.EXPOSED for row in gained) else Level.MEDIUM,
                impact=Level.HIGH,
                because=f"{len(gained)} gained: {listed([row.advisory.id for row in gained], 4)}",
                answer="liftlock advisories says under which conditions; choose another target or accept them",
            )
        ]
    if not exposed and not unclear:
        return []
    return [
        Risk(
            what="flaws that are known today stay open",
            likelihood=Level.HIGH if exposed else Level.MEDIUM,
            impact=Level.LOW,
            because=f"{len(exposed)} open as before, {len(unclear)} that could not be told; none is new "
            f"(as of {report.advisories.as_of})",
            answer="liftlock advisories says under which conditions; accept risks with an owner and an end",
        )
    ]


def checks(report: PlanReport, deployment: Deployment) -> tuple[str, ...]:
    """What a person must do or look at, because no program can: computed, so that nothing is asked in vain."""
    plan = report.plan
    found = []
    if any(step.holds_writes for step in plan.steps):
        found.append(f"Announce that nobody can write for {estimate(plan.window)}.")
    if plan.window.origin is not Origin.REHEARSED:
        found.append("Rehearse on a copy: `liftlock rehearse` replaces computed figures by measured ones.")
    found += [
        f"Raise or retire {each.seen.kind} {each.seen.version}: it breaks with {plan.jump.target} "
        f"({listed(list(new_breaks(each)), 2)})."
        for each in report.fates or ()
        if each.state is State.BREAKS and new_breaks(each)
    ]
    if report.used:
        found.append(f"Change the {sum(each.count for each in report.used)} places in code that the scan names.")
    open_ones = [each.behaviour for each in report.behaviours if not each.spared]
    found += [f"{each.title[0].upper()}{each.title[1:]}: {each.action}" for each in open_ones]
    if deployment.server.app_name and not deployment.server.app_name.startswith("basic-auth"):
        found.append(f"Try the plugin behind --app-name {deployment.server.app_name} with {plan.jump.target}.")
    found += [
        "After the upgrade, open the user interface through its public name, log in, and look at a run with its charts "
        "and artifacts.",
        "Load a model that matters from the registry where it is served, and compare its predictions.",
        "Look at dashboards and alerts that read MLflow's API or database.",
        "Decide how long the way back is kept; `liftlock finalize` ends it.",
    ]
    return tuple(found)
