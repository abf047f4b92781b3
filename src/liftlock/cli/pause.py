"""`liftlock pause`: let a running online upgrade rest."""

from __future__ import annotations

import click

from liftlock.cli.common import State, emit, json_option, pass_state, say


@click.command("pause")
@json_option
@pass_state
def command(state: State, as_json: bool) -> int:
    """Stop following and comparing until `liftlock resume`; capture goes on, so nothing is missed.

    \b
    Examples:
      liftlock pause
    """
    from liftlock.app.steer import pause

    said = pause(state.workspace())
    if as_json:
        emit(said)
    else:
        say("paused; go on with `liftlock resume`")
    return 0
