"""`liftlock environments`: dev before staging before prod."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from liftlock.cli.common import State, emit, json_option, pass_state, say, status_of

if TYPE_CHECKING:
    from liftlock.model.evidence import Decision

_TO = click.option("--to", required=True, metavar="VERSION", help="The release it is about.")
_REASON = click.option("--reason", default="", help="Why; kept in the journal of the upgrade and in its evidence.")
_BY = click.option("--by", default="", metavar="NAME", help="Who decided, if not you; your name is kept beside it.")


@click.group("environments")
def command() -> None:
    """Let a release into this environment only when those before it have proven it and people have approved it.

    [environments] in liftlock.toml names this environment, those before it with their soak times, and how many people
    must approve. `upgrade` refuses while the gate is shut. An approval or override counts for one attempt.

    \b
    Examples:
      liftlock environments status --to 3.17.2
      liftlock environments approve --to 3.17.2
      liftlock environments override --to 3.17.2 --reason "CVE-2026-1234 is being used against us"
      liftlock environments freeze --reason "end of quarter" --until 2026-12-31T18:00
    """


@command.command("status")
@_TO
@json_option
@pass_state
def status(state: State, to: str, as_json: bool) -> int:
    """Show the gate, question by question; status 1 while it is shut."""
    from liftlock.app.environments import gate
    from liftlock.model.release import Release
    from liftlock.report import text

    found = gate(state.workspace(), Release.parse(to))
    if as_json:
        emit({"findings": found})
    else:
        say(text.findings(found) or "no [environments] section: nothing is asked")
    return status_of(found)


@command.command("approve")
@_TO
@_REASON
@_BY
@json_option
@pass_state
def approve(state: State, to: str, reason: str, by: str, as_json: bool) -> int:
    """Approve a release for this environment."""
    return _decide(state, "approve", to, by, reason, None, as_json)


@command.command("override")
@_TO
@_REASON
@_BY
@json_option
@pass_state
def override(state: State, to: str, reason: str, by: str, as_json: bool) -> int:
    """Let the next upgrade to a release go past the shut gate; needs a reason."""
    return _decide(state, "override", to, by, reason, None, as_json)


@command.command("freeze")
@_REASON
@_BY
@click.option("--until", type=click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%d"]), help="When it ends by itself, UTC.")
@json_option
@pass_state
def freeze(state: State, reason: str, by: str, until: datetime | None, as_json: bool) -> int:
    """Keep every upgrade out of this environment until `thaw`; needs a reason."""
    return _decide(state, "freeze", None, by, reason, until.replace(tzinfo=UTC) if until else None, as_json)


@command.command("thaw")
@_REASON
@_BY
@json_option
@pass_state
def thaw(state: State, reason: str, by: str, as_json: bool) -> int:
    """End a freeze."""
    return _decide(state, "thaw", None, by, reason, None, as_json)


def _decide(
    state: State, kind: str, to: str | None, by: str, reason: str, until: datetime | None, as_json: bool
) -> int:
    from liftlock.app.environments import decide
    from liftlock.model.evidence import DecisionKind
    from liftlock.model.release import Release

    made: Decision = decide(
        state.workspace(), DecisionKind(kind), release=Release.parse(to) if to else None, by=by, reason=reason,
        until=until,
    )  # fmt: skip
    if as_json:
        emit(made)
    else:
        about = f" of MLflow {made.release}" if made.release else ""
        say(f"{made.kind.value}{about} for {made.environment} recorded: {made.by}")
    return 0
