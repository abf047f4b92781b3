"""`liftlock cut-over`: end the wait of a running online upgrade."""

from __future__ import annotations

import click

from liftlock.cli.common import State, emit, json_option, pass_state, say


@click.command("cut-over")
@json_option
@pass_state
def command(state: State, as_json: bool) -> int:
    """Tell the upgrade that runs in another terminal to switch as soon as both sides are equal.

    \b
    Examples:
      liftlock cut-over
    """
    from liftlock.app.steer import cut_over

    said = cut_over(state.workspace())
    if as_json:
        emit(said)
    else:
        say("the upgrade will cut over as soon as both sides are equal")
    return 0
