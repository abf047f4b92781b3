"""`liftlock plan`: what an upgrade would mean."""

from __future__ import annotations

import click

from liftlock.cli.common import State, emit, json_option, pass_state, progress, say

STRATEGIES = click.Choice(["online", "standard", "in-place", "rolling"])


@click.command("plan")
@click.option("--to", help="The target release (default: the newest that installs).")
@click.option("--strategy", type=STRATEGIES, help="Ask for one strategy instead of the best.")
@json_option
@pass_state
def command(state: State, to: str | None, strategy: str | None, as_json: bool) -> int:
    """Show the steps of an upgrade, how long each takes and where that number comes from. Changes nothing.

    \b
    Examples:
      liftlock plan
      liftlock plan --to 3.17.2 --json
    """
    from liftlock.app.planning import make_plan
    from liftlock.model.plan import Strategy
    from liftlock.report import text

    with progress(quiet=as_json) as observer:
        made = make_plan(state.workspace(), to, Strategy(strategy) if strategy else None, observer=observer)
    if as_json:
        emit(made)
    else:
        say(text.plan(made))
    return 0
