"""`liftlock check`: health and hazards now."""

from __future__ import annotations

import click

from liftlock.cli.common import State, emit, json_option, pass_state, progress, say, status_of
from liftlock.errors import UsageError


@click.command("check")
@click.option("--before", metavar="VERSION", help="Also check whether this release can be gone to.")
@click.option("--after", is_flag=True, help="Also compare what is served with what was before the upgrade.")
@click.option("--quiet", is_flag=True, help="Show only what needs attention.")
@json_option
@pass_state
def command(state: State, before: str | None, after: bool, quiet: bool, as_json: bool) -> int:
    """Look for everything that would make an upgrade fail, and for what is wrong today. Changes nothing.

    \b
    Examples:
      liftlock check
      liftlock check --before 3.17.2
      liftlock check --after --json
    """
    from liftlock.app.check import check, check_after
    from liftlock.report import text

    if before and after:
        raise UsageError("--before and --after exclude each other")
    workspace = state.workspace()
    with progress(quiet=as_json) as observer:
        found = check_after(workspace) if after else check(workspace, before=before, observer=observer)
    if as_json:
        emit(list(found))
    else:
        say(text.findings(found, verbose=not quiet))
        say(text.tally(found))
    return status_of(found)
