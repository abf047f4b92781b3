"""`liftlock abort`: put an unfinished run back as it was."""

from __future__ import annotations

import click

from liftlock.cli._life import finish
from liftlock.cli.common import State, json_option, pass_state


@click.command("abort")
@json_option
@pass_state
def command(state: State, as_json: bool) -> int:
    """Take back everything an unfinished upgrade, rollback or rehearsal did.

    \b
    Examples:
      liftlock abort
    """
    from liftlock.app.upgrade import abort

    return finish(state, abort, as_json=as_json)
