"""`liftlock watch`: is the server worse than it was?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from liftlock.cli.common import State, emit, json_option, pass_state, progress, say, status_of

if TYPE_CHECKING:
    from liftlock.model.watch import Watch

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PUT_BACK = 4


def _seconds(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A duration such as `90s`, `15m`, `24h`, `2d`, or seconds, in seconds."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value.strip())
    if found is None:
        raise click.BadParameter(f"{value!r} is no duration such as 90s, 15m, 24h or 2d", context, parameter)
    return float(found[1]) * _UNITS[found[2] or "s"]


@click.command("watch")
@click.option(
    "--for", "length", metavar="DURATION", callback=_seconds, help="How long, such as 24h (default: one look)."
)
@click.option(
    "--every", metavar="DURATION", callback=_seconds, default="10s", show_default=True,
    help="How long between two looks.",
)  # fmt: skip
@click.option("--baseline", is_flag=True, help="Note how the server is now, and stop.")
@click.option("--probe", is_flag=True, help="Also ask questions of liftlock's own (without a gate it always does).")
@click.option(
    "--roll-back", "roll_back", is_flag=False, flag_value="lossless", default=None,
    type=click.Choice(["never", "lossless", "always"]),
    help="Go back on a breach: lossless (as without a value) when no write would stay behind, or always.",
)  # fmt: skip
@json_option
@pass_state
def command(
    state: State, length: float | None, every: float, baseline: bool, probe: bool, roll_back: str | None, as_json: bool
) -> int:  # fmt: skip
    """Compare latency, errors, registrations, health and database connections with those before the upgrade.

    The requests are those of the gate's access log. `upgrade` notes by itself how they were before; where no gate
    stands, take a baseline first and liftlock asks questions of its own. p50, p95 or p99 up by 20% is a warning, by 50%
    a breach; registrations below 99% and 95% likewise; [watch] in liftlock.toml has the numbers. Too few requests
    are neither good nor bad, but unknown.

    Status 0: nothing is worse. 1: something is, or is not known. 4: a breach, and the upgrade was rolled back. 5: a
    breach, and going back needs a person.

    \b
    Examples:
      liftlock watch
      liftlock watch --for 24h --roll-back
      liftlock watch --baseline --for 1m
    """
    workspace = state.workspace()
    if baseline:
        return _baseline(state, 30.0 if length is None else length, as_json)
    from liftlock.app.watch import Options
    from liftlock.app.watch import watch as look

    options = Options(seconds=length or 0.0, every=max(every, 0.1), probe=probe, roll_back=roll_back)
    with progress(quiet=as_json) as observer:
        found = look(workspace, options, observer=observer)
    if as_json:
        emit(found)
    else:
        _show(found)
    if found.rolled_back:
        return _PUT_BACK
    return 1 if found.breached else status_of(found.findings)


def _baseline(state: State, seconds: float, as_json: bool) -> int:
    from liftlock.app.watch_baseline import Baselines

    with progress(quiet=as_json) as observer:
        made = Baselines(state.workspace()).take(seconds=seconds, observer=observer)
    if as_json:
        emit(made)
    else:
        say(f"noted how MLflow {made.release} is: {made.traffic.requests} requests, from {made.source}")
    return 0


def _show(found: Watch) -> None:
    from liftlock.report import text

    about = f" since {found.run}" if found.run else ""
    say(f"MLflow {found.release}{about}: {found.requests} requests, {found.began_at:%F %T} to {found.until:%F %T} UTC")
    say(text.findings(found.findings))
    if found.recent:
        say("of late:")
        say(text.findings(found.recent))
    if found.rolled_back:
        say(f"breached, and rolled back: {found.rolled_back}")
    elif found.breached_at is not None:
        say("breached; the way back: liftlock rollback")
