"""`liftlock notify`: tell the people and programs of [notify]."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import click

from liftlock.cli.common import State, emit, json_option, pass_state, say
from liftlock.describe.sections import EventName

if TYPE_CHECKING:
    from liftlock.notify.send import Told


@click.group("notify")
def command() -> None:
    """Tell owners what happens: `plan`, an upgrade's events and `watch` tell by themselves; `due` is for a schedule.

    Receivers are webhooks, commands and the services Apprise reaches (mail, Slack, Teams, ...: needs
    `liftlock[notify]`), in [[notify.receivers]] of liftlock.toml; secrets are references. Whoever is not reached never
    stops an upgrade.

    \b
    Examples:
      liftlock notify test
      liftlock notify due
      liftlock notify send window-closing --text "the way back to 2.9.2 ends on Friday"
    """


@command.command("test")
@json_option
@pass_state
def test(state: State, as_json: bool) -> int:
    """Send a test message to every receiver; status 1 when one was not reached."""
    return _send(state, "test", "this is a test", as_json)


@command.command("send")
@click.argument("event", type=click.Choice(get_args(EventName)))
@click.option("--text", default="", help="What to say (default, where there is one: what liftlock knows of it).")
@json_option
@pass_state
def send(state: State, event: str, text: str, as_json: bool) -> int:
    """Send one event to those who want it; status 1 when one was not reached.

    plan-ready without --text tells of the last plan, window-closing of the upgrade that can still be rolled back.
    """
    return _send(state, event, text, as_json)


@command.command("due")
@json_option
@pass_state
def due(state: State, as_json: bool) -> int:
    """Send what is due, once: window-closing when a way back has been open for notify.window_hours.

    Made for a schedule. `liftlock watch` does it too, at the end of every look. Status 1 when one was not reached.
    """
    from liftlock.app.notify import due as send_due

    return _told(send_due(state.workspace()), "nothing is due", as_json)


def _send(state: State, event: str, text: str, as_json: bool) -> int:
    from liftlock.app.notify import known, tell
    from liftlock.errors import UsageError
    from liftlock.notify.message import Event

    workspace = state.workspace()
    if workspace.config.notify is None:
        raise UsageError(f"{workspace.config.path} has no [notify] section", hint="Add [[notify.receivers]] to it.")
    told = tell(workspace, Event(event), text or known(workspace, Event(event)))
    return _told(told, f"nobody wants to hear of {event}", as_json)


def _told(told: tuple[Told, ...], otherwise: str, as_json: bool) -> int:
    if as_json:
        emit(told)
    else:
        for each in told:
            say(f"{each.receiver}: {each.problem or 'told'}")
        if not told:
            say(otherwise)
    return 1 if any(each.problem for each in told) else 0
