"""`liftlock rollback`: go back to the release before the last upgrade."""

from __future__ import annotations

import click

from liftlock.cli._life import finish
from liftlock.cli.common import State, confirm, emit, json_option, pass_state, say, yes_option


@click.command("rollback")
@click.option("--dry-run", is_flag=True, help="Only list what was written since the upgrade.")
@yes_option
@json_option
@pass_state
def command(state: State, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Go back to the old release on the verified snapshot.

    What was written since the upgrade is listed first. After an online upgrade it is carried back, while people go on
    writing; otherwise it is saved in a verified backup and not carried back.

    \b
    Examples:
      liftlock rollback --dry-run
      liftlock rollback --yes
    """
    from liftlock.app.upgrade import preview_rollback, rollback
    from liftlock.report import text

    _, since = preview_rollback(state.workspace())
    if dry_run and as_json:
        emit(since)
        return 0
    if not as_json:
        if since.shared:
            say("both releases use one database: nothing has to be carried back, and its schema stays as it is")
        elif since.none:
            say("nothing was written since the upgrade")
        elif since.carried:
            say("written since the upgrade, to be carried back:")
            say(text.table(("table", "rows"), [(table, now) for table, (_, now) in since.tables.items()]))
        else:
            say("written since the upgrade, saved in a backup and not carried back:")
            rows = [(table, before, now) for table, (before, now) in since.tables.items()]
            say(text.table(("table", "rows then", "rows now"), rows))
            for run in since.runs:
                say(f"  run {run}")
            for model in since.models:
                say(f"  model version {model}")
    if dry_run:
        return 0
    confirm("Go back to the old release now?", yes=yes)
    return finish(state, rollback, as_json=as_json)
