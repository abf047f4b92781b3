"""`liftlock status`: where things stand."""

from __future__ import annotations

import click

from liftlock.cli.common import State, emit, json_option, pass_state, say


@click.command("status")
@json_option
@pass_state
def command(state: State, as_json: bool) -> int:
    """Show the deployment, the run in progress, the rollback window and the last backup. Starts and changes nothing.

    \b
    Examples:
      liftlock status
      liftlock status --json
    """
    from liftlock.app.status import status

    now = status(state.workspace())
    if as_json:
        emit(now)
        return 0
    running = f"PID {now.server_pid}" if now.server_pid else "not running"
    say(f"{now.name}: MLflow {now.release} at {now.url}, {running}")
    for store in now.stores:
        say(f"  {store.role}: {store.uri} at {store.revision or 'no revision'} {store.problem}".rstrip())
    if now.at_work:
        say(f"at work: {now.at_work.operator} (PID {now.at_work.pid}) since {now.at_work.since:%F %T} UTC: "
            f"{now.at_work.doing}")  # fmt: skip
    if now.open_run:
        say(f"open: {now.open_run.kind.value} {now.open_run.id}, at step {now.open_run.step or 'none'}")
        if not now.at_work:
            say("  go on with `liftlock resume`, or take it back with `liftlock abort`")
    if now.stand:
        total = f" of {now.stand.total:.0f}" if now.stand.total else ""
        eta = f", about {now.stand.eta:.0f} s to go" if now.stand.eta else ""
        say(f"  {now.stand.phase}: {now.stand.done:.0f}{total} {now.stand.unit}, {now.stand.lag} behind{eta}")
    for process in now.processes:
        if process.role not in ("server", "upgrade"):  # said above
            say(f"  {process.role}: PID {process.pid} ({process.at})")
    if now.rollback_window:
        say(f"can be rolled back: {now.rollback_window.id} (until `liftlock finalize`)")
    verified = "verified" if now.last_backup_verified else "not verified"
    say(f"backups: {now.backups}, last {now.last_backup} ({verified})" if now.last_backup else "backups: none")
    return 0
