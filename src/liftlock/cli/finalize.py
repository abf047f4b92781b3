"""`liftlock finalize`: end the rollback window of the last upgrade."""

from __future__ import annotations

import click

from liftlock.cli.common import State, confirm, emit, json_option, pass_state, say, yes_option


@click.command("finalize")
@yes_option
@json_option
@pass_state
def command(state: State, yes: bool, as_json: bool) -> int:
    """Keep the new release for good: `rollback` is no longer offered, the old environment may be removed.

    The backups of the upgrade stay, as ordinary ones that `backup prune` may remove by its rules.

    \b
    Examples:
      liftlock finalize --yes
    """
    from liftlock.app.upgrade import finalize

    confirm("End the rollback window? There is no way back with `rollback` after this.", yes=yes)
    released = finalize(state.workspace())
    if as_json:
        emit({"released": list(released)})
    else:
        say(f"finalized; backups no longer protected: {', '.join(released) or 'none'}")
    return 0
