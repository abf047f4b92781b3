"""From a journal's entries, fingerprints and locks to the lines of a summary. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from liftlock.model.codec import from_builtins
from liftlock.model.evidence import DatabaseLine, PackageChange, StepLine
from liftlock.model.finding import Finding
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.journal import Entry, Kind, RunOutcome
from liftlock.model.watch import Watch
from liftlock.releases.lock import pins

WATCH_NOTE = "watch"

_STATES = {
    Kind.INTENT: "begun", Kind.DONE: "done", Kind.FAILED: "failed", Kind.UNDO_INTENT: "being taken back",
    Kind.UNDONE: "taken back",
}  # fmt: skip


def steps(entries: Sequence[Entry]) -> tuple[StepLine, ...]:
    """One line for each time a step was begun, in order; what happened to it since is its state."""
    found: list[StepLine] = []
    titles: dict[str, str] = {}
    for entry in entries:
        if entry.kind is Kind.INTENT:
            titles[entry.step] = str(entry.payload.get("title", entry.step))
            found.append(
                StepLine(
                    name=entry.step, title=titles[entry.step], started_at=entry.at, seconds=None, state="begun"
                )
            )  # fmt: skip
        elif entry.kind in _STATES:
            for index in range(len(found) - 1, -1, -1):
                line = found[index]
                if line.name == entry.step:
                    took = (entry.at - line.started_at).total_seconds()
                    ended = entry.kind in (Kind.DONE, Kind.FAILED)
                    found[index] = StepLine(
                        name=line.name, title=line.title, started_at=line.started_at, state=_STATES[entry.kind],
                        seconds=round(took, 3) if ended else line.seconds,
                    )  # fmt: skip
                    break
    return tuple(found)


def ended_at(entries: Sequence[Entry]) -> datetime | None:
    """When an upgrade itself ended, by its run's entries: a later rollback or `finalize` ends the run once more."""
    later = (RunOutcome.OPEN.value, RunOutcome.ROLLED_BACK.value, RunOutcome.FINALIZED.value)
    return next((e.at for e in entries if e.kind is Kind.RUN_ENDED and e.payload["outcome"] not in later), None)


def watched(entries: Sequence[Entry]) -> Watch | None:
    """What the last watch of a run came to, or None."""
    noted = [entry.payload for entry in entries if entry.kind is Kind.NOTE and entry.step == WATCH_NOTE]
    return from_builtins(noted[-1], Watch) if noted else None


def issues(entries: Sequence[Entry]) -> tuple[str, ...]:
    """What went wrong, in the journal's own words, in order."""
    found = []
    for entry in entries:
        said = str(entry.payload.get("message") or entry.payload.get("reason") or "")
        if entry.kind is Kind.FAILED:
            found.append(f"{entry.step} failed: {said}")
        elif entry.kind is Kind.UNDO_INTENT and not any(f"put back: {said}" == each for each in found):
            found.append(f"put back: {said}")
        elif entry.kind is Kind.NOTE and entry.step.startswith("undo-failed:"):
            found.append(f"taking back {entry.step.partition(':')[2]} failed: {said}")
        elif entry.kind is Kind.NOTE and entry.step.startswith("probe:"):
            found.append(f"cut off during {entry.step.partition(':')[2]}, then found {entry.payload.get('probe')}")
        elif entry.kind is Kind.NOTE and entry.step.startswith("told:"):
            about = entry.step.partition(":")[2]
            missed = [each for each in entry.payload.get("told", ()) if each.get("problem")]
            found += [f"{each['receiver']} was not told of {about}: {each['problem']}" for each in missed]
    return tuple(found)


def verification(entries: Sequence[Entry]) -> tuple[Finding, ...]:
    """The findings that the run's steps noted, of each step the last ones, in the order of the steps.

    Those of a watch are another matter: they come later, and change from look to look.
    """
    noted: dict[str, Any] = {}
    for entry in entries:
        if entry.kind in (Kind.NOTE, Kind.DONE) and "findings" in entry.payload and entry.step != WATCH_NOTE:
            noted[entry.step] = entry.payload["findings"]
    return tuple(from_builtins(each, Finding) for found in noted.values() for each in found)


def databases(before: Mapping[str, Fingerprint], after: Mapping[str, Fingerprint]) -> tuple[DatabaseLine, ...]:
    """One line for each database that was measured on both sides."""
    return tuple(_database(role, before[role], after[role]) for role in before if role in after)


def _database(role: str, before: Fingerprint, after: Fingerprint) -> DatabaseLine:
    old, new = before.columns(), after.columns()
    both = sorted(old.keys() & new.keys())
    same = [name for name in both if old[name] == new[name]]
    return DatabaseLine(
        role=role, rows_before=before.rows, rows_after=after.rows, tables_before=len(old), tables_after=len(new),
        added=tuple(sorted(new.keys() - old.keys())), removed=tuple(sorted(old.keys() - new.keys())),
        altered=tuple(name for name in both if old[name] != new[name]),
        changed=tuple(name for name in same if before.table(name) != after.table(name)),
    )  # fmt: skip


def packages(before: str, after: str) -> tuple[PackageChange, ...]:
    """What two locks differ in, in name order."""
    old, new = pins(before), pins(after)
    return tuple(
        PackageChange(name=name, before=old.get(name, ""), after=new.get(name, ""))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )
