"""`liftlock upgrade`: do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from liftlock.cli._moment import cut_over_option, load_option
from liftlock.cli.common import State, confirm, emit, json_option, pass_state, progress, say, yes_option
from liftlock.cli.plan import STRATEGIES

if TYPE_CHECKING:
    from liftlock.online.control import When


@click.command("upgrade")
@click.option("--to", help="The target release (default: the newest that installs).")
@click.option("--strategy", type=STRATEGIES, help="Ask for one strategy instead of the best.")
@click.option("--plan", "plan_id", help="Run this saved plan instead of making one.")
@cut_over_option
@load_option
@click.option(
    "--stay",
    type=click.FloatRange(0, 86_400),
    default=5.0,
    show_default=True,
    help="Seconds at each share of the reads (rolling).",
)
@yes_option
@json_option
@pass_state
def command(
    state: State, to: str | None, strategy: str | None, plan_id: str | None, when: When, load: float, stay: float,
    yes: bool, as_json: bool,
) -> int:  # fmt: skip
    """Upgrade by the plan: every step journalled, everything put back when one fails.

    With a gate in front of the server (`liftlock gate install`) people keep writing meanwhile.

    \b
    Examples:
      liftlock upgrade --to 3.17.2
      liftlock upgrade --plan plan-1a2b3c4d5e6f --yes
      liftlock upgrade --to 3.17.2 --strategy online --cut-over manual
      liftlock upgrade --to 3.17.2 --strategy rolling --stay 600
    """
    from liftlock.app.lives import Wishes
    from liftlock.app.planning import load_plan, make_plan
    from liftlock.app.upgrade import upgrade
    from liftlock.model.plan import Strategy
    from liftlock.report import text

    workspace = state.workspace()
    workspace.require_no_run()  # before anything is planned on a deployment in between
    with progress(quiet=as_json) as observer:
        if plan_id:
            chosen = load_plan(workspace, plan_id)
        else:
            chosen = make_plan(workspace, to, Strategy(strategy) if strategy else None, observer=observer)
    if not as_json:
        say(text.plan(chosen))
    confirm(f"Upgrade {chosen.deployment_name} to MLflow {chosen.jump.target} now?", yes=yes)
    with progress(quiet=as_json) as observer:
        done = upgrade(workspace, chosen, wishes=Wishes(when=when, load=load, stay=stay), observer=observer)
    if as_json:
        emit(done)
        return 0
    say()
    say(text.run_summary(done.results))
    hold = f", writes were held for {text.hold(done.write_hold_seconds)}" if done.write_hold_seconds else ""
    say(f"MLflow {chosen.jump.target} runs{hold}")
    say("way back: liftlock rollback; end of the rollback window: liftlock finalize")
    return 0
