"""The part of a plan that is about clients, which `liftlock clients` shows too. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from liftlock.knowledge.compatibility import Judgement, State
from liftlock.knowledge.fates import Fate
from liftlock.report.document import Block, Rows, Section, Table, listed
from liftlock.report.plan_content import PlanReport

_TONES = {State.WORKS: "good", State.BREAKS: "bad", State.UNKNOWN: "warn"}


def clients_section(report: PlanReport) -> Section:
    """Who is seen, and what becomes of every measured client, upgraded and rolled back."""
    plan = report.plan
    blocks: list[Block] = ["Upgrade the server first, then the clients."]
    if report.fates is None:
        blocks.append("No traffic was looked at.")
    elif report.fates:
        blocks.append(clients_table(report.fates, f"Clients seen, with MLflow {plan.jump.target}"))
    blocks.append(_judged(report.old_clients, f"Clients with the new server, {plan.jump.target}"))
    blocks.append(
        _judged(report.new_clients, f"After a rollback: newer clients with the old server, {plan.jump.source}")
    )
    return Section("Clients", tuple(blocks))


def clients_table(fates: tuple[Fate, ...], caption: str) -> Table:
    """What becomes of each client that was seen."""
    rows = Rows(("client", "requests", "writes", "hosts", "last seen", "becomes", "what fails", "evidence"))
    for fate in fates:
        seen = fate.seen
        fails = listed([f"`{each}`" for each in fate.gone] + list(fate.broken), 4)
        if fate.already:
            fails += f" ({len(fate.already)} of them fail today already)"
        rows.add(f"{seen.kind} {seen.version}".strip(), str(seen.requests), str(seen.writes), str(seen.peers),
                 day(seen.last), fate.state.value, fails or "-", fate.evidence, tone=_TONES[fate.state])  # fmt: skip
    return rows.table(caption)


def _judged(found: tuple[Judgement, ...], caption: str) -> Table:
    rows = Rows(("client", "state", "what fails", "evidence"))
    for each in found:
        rows.add(str(each.client), each.state.value, listed(list(each.broken), 6) or "-", each.evidence,
                 tone=_TONES[each.state])  # fmt: skip
    return rows.table(caption)


def day(moment: float) -> str:
    """A time in seconds since 1970 as `2026-11-21 15:30`, UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M") if moment else "not logged"
