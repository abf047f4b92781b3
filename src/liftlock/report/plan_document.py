"""A plan report as a document: what a person reads before saying yes, most important first. Pure."""

from __future__ import annotations

from liftlock.knowledge.advisories import State as Open
from liftlock.knowledge.breaks import Break
from liftlock.knowledge.compatibility import State
from liftlock.model.plan import Plan, Reversibility
from liftlock.report.document import Block, Bullets, Document, Rows, Section, Table, listed
from liftlock.report.plan_clients import clients_section
from liftlock.report.plan_content import Level, LineState, Migration, PlanReport
from liftlock.report.text import estimate, size

# So many rows of a long table are enough on a terminal; the pages have them all.
_FEW = 12
_BACK = {
    Reversibility.UNDO: "undone",
    Reversibility.RESTORE: "snapshot restored",
    Reversibility.NONE: "none",
}
_LEVELS = {Level.LOW: "low", Level.MEDIUM: "medium", Level.HIGH: "high"}


def document(report: PlanReport) -> Document:
    """All sections; one that has nothing to say says so."""
    plan = report.plan
    sections = [
        _strategy(report), _steps(plan), _risks(report), _migrations(report), _breaks(report), _behaviours(report),
        _line(report), clients_section(report), _advisories(report), _needs(report), _features(report),
        Section("Checks left to a person", (Bullets(report.checks, boxes=True),)),
        Section("Not known", (Bullets(report.unknown) if report.unknown else "Everything asked could be told.",)),
    ]  # fmt: skip
    return Document(
        title=f"Upgrade of {plan.deployment_name}: MLflow {plan.jump.source} to {plan.jump.target}",
        lead=(_summary(report),), sections=tuple(sections),
        foot=f"{plan.id}, made {report.made_at:%Y-%m-%d %H:%M} UTC by liftlock; catalogue of {report.catalogue}, "
        f"compatibility measured {report.measured}, advisories as of {report.advisories.as_of}. Times are rehearsed "
        "(measured on a copy of this deployment), computed (from rates measured elsewhere, and so a "
        "range) or unknown.",
    )  # fmt: skip


def _summary(report: PlanReport) -> Table:
    plan, rows = report.plan, Rows(("question", "answer"))
    heaviest = max((risk.weight for risk in report.risks), default=1)
    level = "high" if heaviest >= 6 else "medium" if heaviest >= 3 else "low"
    rows.add("What kind of jump is it?", f"{plan.jump.kind.value}, {len(report.migrations)} database migrations")
    rows.add("How is it done?", f"`{plan.strategy.value}`; writes are held for {estimate(plan.window)}")
    rows.add("Is there a way back?", _way_back(plan))
    if report.used is None:
        rows.add("Does our code break?", f"not known: no scan was given; {len(report.breaks)} changes break something",
                 tone="warn")  # fmt: skip
    else:
        broken = [each for each in report.used if each.verdict == "breaks"]
        rows.add("Does our code break?", f"{len(broken)} names it uses break, in {sum(e.count for e in broken)} places",
                 tone="bad" if broken else "good")  # fmt: skip
    rows.add("Do clients break?", _clients_said(report), tone=_clients_tone(report))
    counts = {what: sum(row.change == what for row in report.advisories.rows) for what in ("fixed", "left", "gained")}
    gained = [row for row in report.advisories.rows if row.change == "gained"]
    harmless = gained and not any(row.after.state in (Open.EXPOSED, Open.UNKNOWN) for row in gained)
    rows.add("Is it safer afterwards?", f"{counts['fixed']} known flaws fixed, {counts['left']} left, "
             f"{counts['gained']} gained{' (not open here)' if harmless else ''}")  # fmt: skip
    rows.add("How risky is it?", f"{level}: {report.risks[0].what}" if report.risks else level,
             tone={"high": "bad", "medium": "warn", "low": "good"}[level])  # fmt: skip
    return rows.table("Summary")


def _way_back(plan: Plan) -> str:
    if plan.point_of_no_return.startswith("none"):
        return plan.point_of_no_return.removeprefix("none: ")
    return (
        f"up to `{plan.point_of_no_return}` everything is put back by itself; afterwards `liftlock rollback`, "
        "until `liftlock finalize`"
    )


def _clients_said(report: PlanReport) -> str:
    if report.fates is None:
        return "not known: no access log was given"
    counts = {state: sum(fate.state is state for fate in report.fates) for state in State}
    return f"{counts[State.BREAKS]} break, {counts[State.UNKNOWN]} unknown, {counts[State.WORKS]} work (kinds seen)"


def _clients_tone(report: PlanReport) -> str:
    states = {fate.state for fate in report.fates or ()}
    return "bad" if State.BREAKS in states else "warn" if State.UNKNOWN in states or not states else "good"


def _strategy(report: PlanReport) -> Section:
    plan = report.plan
    reasons = [*plan.reasons, *(f"not `{name}`: {reason}" for name, reason in plan.not_offered.items())]
    stops = listed([stop.at for stop in report.stops], 9) or "none"
    path = f"Stops on the way: {stops} ({report.why_stops})."
    return Section(f"Strategy: {plan.strategy.value}", (Bullets(tuple(reasons)), path))


def _steps(plan: Plan) -> Section:
    rows = Rows(("#", "step", "writes", "if it fails", "takes"))
    for number, step in enumerate(plan.steps, 1):
        rows.add(
            str(number), step.title, "held" if step.holds_writes else "open", _BACK[step.reversibility],
            estimate(step.estimate), tone="warn" if step.holds_writes else "",
        )  # fmt: skip
    return Section(
        "Steps and the way back",
        (
            rows.table("Steps in order"),
            f"Writes are held for {estimate(plan.window)}. Point of no return: `{plan.point_of_no_return}`.",
            Bullets(_commands(plan)),
        ),
    )


def _commands(plan: Plan) -> tuple[str, ...]:
    target = plan.jump.target
    return (
        f"Before: `liftlock check --before {target}`, then `liftlock rehearse --to {target}`.",
        f"Do it: `liftlock upgrade --to {target} --strategy {plan.strategy.value}`; cut off, `liftlock resume` goes on "
        "and `liftlock abort` puts it back.",
        "Go back: `liftlock rollback` (`--dry-run` shows first what was written since). End of the way back: "
        "`liftlock finalize`.",
    )


def _risks(report: PlanReport) -> Section:
    rows = Rows(("risk", "likelihood", "impact", "because", "what is done about it"))
    for risk in report.risks:
        tone = "bad" if risk.weight >= 6 else "warn" if risk.weight >= 3 else ""
        rows.add(risk.what, _LEVELS[risk.likelihood], _LEVELS[risk.impact], risk.because, risk.answer, tone=tone)
    return Section("Risks", (rows.table("Risks, heaviest first"),))


def _migrations(report: PlanReport) -> Section:
    if not report.migrations:
        return Section("Database migrations", ("None: both releases use the same schema.",))
    rows = Rows(("database", "revision", "first in", "migration", "rows it touches here", "takes", "worked out from"))
    idle = [each for each in report.migrations if not each.rows]
    plain = [each for each in idle if not (each.rewrites or each.drops)]
    for each in report.migrations:
        if not each.rows:
            continue
        rows.add(
            each.role.value, f"`{each.revision}`", each.release or "unknown", _said(each), _touched(each),
            estimate(each.seconds), each.basis.partition("; ")[0],
            tone="warn" if each.rewrites or each.drops else "",
        )  # fmt: skip
    blocks: list[Block] = []
    for step in report.plan.steps:
        if step.name.startswith("migrate-"):
            role = step.name.removeprefix("migrate-")
            blocks.append(f"All of the {role} database together: {estimate(step.estimate)}.")
    if rows.rows:
        blocks.append(rows.table("Migrations that touch rows of this deployment"))
    where = sorted({each.basis.partition("; ")[2] for each in report.migrations} - {""})
    if where:
        blocks.append(f"Figures are CPU seconds of runs over tables of several sizes, on {listed(where, 4)}.")
    empty = [each for each in idle if each not in plain]
    if empty:
        named = [f"`{each.revision}` ({', '.join(sorted({*each.rewrites, *each.drops}))})" for each in empty]
        names = listed(named, 60)
        blocks.append(f"{len(empty)} more change or drop values, of tables that have no rows here: {names}.")
    if plain:
        names = listed([f"`{each.revision}`" for each in plain], 60)
        blocks.append(f"{len(plain)} more only add tables, columns or indexes where there are no rows: {names}.")
    blocks += _locks(report)
    blocks += _failing(report)
    return Section("Database migrations", tuple(blocks))


def _locks(report: PlanReport) -> list[Block]:
    """What nobody can use meanwhile, as PostgreSQL showed it; on SQLite a migration has the file to itself."""
    shut = sorted({table for each in report.migrations for table in each.locks.get("everybody", ())})
    read_only = sorted({table for each in report.migrations for table in each.locks.get("writers", ())} - set(shut))
    if not shut and not read_only:
        return []
    said = "One transaction holds its locks to the end, so while all of this runs "
    parts = []
    if shut:
        parts.append(f"nobody can read or write {listed([f'`{table}`' for table in shut], 30)}")
    if read_only:
        parts.append(f"nobody can write {listed([f'`{table}`' for table in read_only], 30)}")
    return [f"{said}{', and '.join(parts)} (locks as seen when each revision was run)."]


def _failing(report: PlanReport) -> list[Block]:
    """What was seen to make these migrations fail, where this database has such rows at all."""
    rows = Rows(("revision", "fails when the database has"))
    for each in report.migrations:
        for planted in each.aborts:
            table = planted.partition(" of ")[2].partition(" ")[0] or planted.partition(".")[0]
            if table in each.rows:
                rows.add(f"`{each.revision}`", planted)
    if not rows.rows:
        return []
    return [
        rows.table("What makes a migration fail, shown by runs with such rows", _FEW),
        "Besides, any migration fails on a table it creates that is there already, and on SQLite on a table "
        "`_alembic_tmp_...` left over from an upgrade that was cut off. `liftlock check` looks for all of this.",
    ]


def _said(each: Migration) -> str:
    said = [each.title, *(f"`{table}`: {why}" for table, why in each.rewrites.items())]
    said += [f"drops {', '.join(f'`{table}.{column}`' for column in columns)}" for table, columns in each.drops.items()]
    return "; ".join(said)


def _touched(each: Migration) -> str:
    return ", ".join(f"{count:,} of `{table}`" for table, count in each.rows.items()) or "none here"


def _breaks(report: PlanReport) -> Section:
    blocks: list[Block] = []
    if report.used is not None:
        rows = Rows(("what", "verdict", "since", "places", "where", "instead"))
        for each in report.used:
            where = listed([f"`{place}`" for place in each.places], 5)
            more = f" and {each.count - len(each.places)} more" if each.count > len(each.places) else ""
            rows.add(f"`{each.symbol}`", each.verdict, each.changed_in or "-", str(each.count), where + more,
                     each.replacement or each.message, tone="bad" if each.verdict == "breaks" else "warn")  # fmt: skip
        blocks.append(
            rows.table("Used in the scanned code") if report.used else "The scanned code uses nothing that breaks."
        )
    unused = _not_found(report)
    if unused:
        title = "Known breaking changes" + (" the scan did not find used" if report.used is not None else "")
        rows = Rows(("name", "gone in", "effect", "instead"))
        for entry in unused:
            rows.add(f"`{entry.path}{_parameters(entry)}`", entry.removed, entry.effect.value, entry.replacement)
        blocks.append(rows.table(title, limit=_FEW, folded=report.used is not None))
    counts = [
        f"{name} " + ", ".join(f"{count} {what}" for what, count in sorted(what_counts.items()))
        for name, what_counts in report.changes.items()
    ]
    if counts:
        plan = report.plan
        blocks.append(
            f"All differences between the releases: {'; '.join(counts)} (`liftlock releases diff {plan.jump.source} "
            f"{plan.jump.target}`)."
        )
    return Section("Breaking changes", tuple(blocks) or ("None are known.",))


def _not_found(report: PlanReport) -> list[Break]:
    used = {each.symbol for each in report.used or ()}
    return [entry for entry in report.breaks if not used & {entry.path, *_names(entry)}]


def _names(entry: Break) -> set[str]:
    """The names a scan has for it: of each parameter, where it is about parameters."""
    return {f"{entry.path}({name}=)" for name in entry.parameters}


def _parameters(entry: Break) -> str:
    return f"({', '.join(f'{name}=' for name in entry.parameters)})" if entry.parameters else ""


def _behaviours(report: PlanReport) -> Section:
    rows = Rows(("since", "side", "what changes", "what to do"))
    for noticed in sorted(report.behaviours, key=lambda each: bool(each.spared)):
        each = noticed.behaviour
        rows.add(each.since, each.who.value, each.title, noticed.spared or each.action)
    return Section(
        "What behaves otherwise", (rows.table("Changes an operator notices"),) if rows.rows else ("Nothing known.",)
    )


def _line(report: PlanReport) -> Section:
    rows = Rows(("option or variable", "with the new release"))
    for each in report.line:
        tone = {LineState.GONE: "bad", LineState.FOREIGN: "warn"}.get(each.state, "")
        rows.add(f"`{each.word}`", each.state.value, tone=tone)
    blocks: list[Block] = [rows.table("What this deployment sets")]
    if report.defaults:
        other = Rows(("option or variable", "default before", "default after"))
        for each in report.defaults:
            other.add(f"`{each.word}`", f"`{each.before}`", f"`{each.after}`")
        blocks.append(other.table("Not set here, and the default becomes another one"))
    if report.new_options:
        blocks.append(f"New options of `mlflow server`: {listed([f'`{each}`' for each in report.new_options], 30)}.")
    return Section("This server's own command line", tuple(blocks))


def _advisories(report: PlanReport) -> Section:
    blocks: list[Block] = []
    for change, said in (("gained", "Gained"), ("left", "Left"), ("fixed", "Fixed")):
        mine = [row for row in report.advisories.rows if row.change == change]
        if not mine:
            blocks.append(f"{said}: none.")
            continue
        rows = Rows(("advisory", "what", "here before", "here after", "fixed in the old line"))
        for row in mine:
            fix = str(row.fix_in_line) if row.fix_in_line else "no" if row.advisory.affected else "unknown"
            tone = "bad" if row.after.state is Open.EXPOSED else "warn" if row.after.state is Open.UNKNOWN else ""
            rows.add(row.advisory.id, row.advisory.title, row.before.state.value, row.after.state.value, fix, tone=tone)
        blocks.append(rows.table(f"{said} ({len(mine)})", limit=_FEW))
    return Section("Known flaws", tuple(blocks))


def _needs(report: PlanReport) -> Section:
    rows = Rows(("what", "there", "wanted", "enough"))
    for floor in report.floors:
        met = {True: "yes", False: "no", None: "unknown"}[floor.met]
        wanted = f"{floor.want} ({floor.reason})" if floor.reason else floor.want
        rows.add(floor.what, floor.have or "-", wanted, met, tone="" if floor.met else "warn")
    for room in report.room:
        enough = room.free >= room.needed * 2.5
        rows.add(f"disk of `{room.path}`", f"{size(room.free)} free", f"2.5 times {size(room.needed)}",
                 "yes" if enough else "no", tone="" if enough else "bad")  # fmt: skip
    blocks: list[Block] = [rows.table("Python, packages and disk")]
    if report.dependencies:
        blocks.append(f"Required packages that are new or bound otherwise: {listed(list(report.dependencies), 40)}.")
    return Section("What it needs", tuple(blocks))


def _features(report: PlanReport) -> Section:
    if not report.features:
        return Section("New and worth taking", ("Nothing for what this deployment uses.",))
    rows = Rows(("since", "what", "first step"))
    for each in report.features:
        rows.add(each.since, each.title, each.how)
    return Section("New and worth taking", (rows.table("New features for what this deployment uses"),))
