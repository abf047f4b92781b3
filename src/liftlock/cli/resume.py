"""`liftlock resume`: go on with a run that was cut off."""

from __future__ import annotations

import click

from liftlock.cli._life import finish
from liftlock.cli.common import State, json_option, pass_state, say


@click.command("resume")
@json_option
@pass_state
def command(state: State, as_json: bool) -> int:
    """Look at what is true, then go on where the run was cut off; or finish putting it back.

    An online upgrade that was paused in another terminal goes on there.

    \b
    Examples:
      liftlock resume
    """
    from liftlock.app.steer import unpause
    from liftlock.app.upgrade import resume

    if unpause(state.workspace()):
        say("the upgrade in the other terminal goes on")
        return 0
    return finish(state, resume, as_json=as_json)
