"""`liftlock server`: start, stop, restart, scale and read the server."""

from __future__ import annotations

import click

from liftlock.cli.common import State, emit, json_option, pass_state, say


@click.group("server")
def command() -> None:
    """Drive the configured server. A release is never started on a database it would migrate.

    \b
    Examples:
      liftlock server restart
      liftlock server scale 4
      liftlock server logs --follow
    """


@command.command("start")
@json_option
@pass_state
def start(state: State, as_json: bool) -> int:
    """Start the server and wait until it is healthy."""
    from liftlock.app import server

    return _report("started", server.start(state.workspace()).pid, as_json=as_json)


@command.command("stop")
@json_option
@pass_state
def stop(state: State, as_json: bool) -> int:
    """Stop the server with all its workers."""
    from liftlock.app import server

    handle = server.stop(state.workspace())
    return _report("stopped" if handle else "was not running", handle.pid if handle else None, as_json=as_json)


@command.command("restart")
@json_option
@pass_state
def restart(state: State, as_json: bool) -> int:
    """Stop and start the server."""
    from liftlock.app import server

    return _report("restarted", server.restart(state.workspace()).pid, as_json=as_json)


@command.command("scale")
@click.argument("workers", type=int)
@json_option
@pass_state
def scale(state: State, workers: int, as_json: bool) -> int:
    """Restart the server with this number of WORKERS and record it in liftlock.toml."""
    from liftlock.app import server

    return _report(f"runs {workers} workers", server.scale(state.workspace(), workers).pid, as_json=as_json)


@command.command("logs")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@click.option("--lines", "-n", default=100, show_default=True, help="How many lines to begin with.")
@pass_state
def logs(state: State, follow: bool, lines: int) -> int:
    """Show the log of the server that liftlock started."""
    from liftlock.app import server

    for line in server.logs(state.workspace(), follow=follow, lines=lines):
        say(line)
    return 0


def _report(what: str, pid: int | None, *, as_json: bool) -> int:
    if as_json:
        emit({"result": what, "pid": pid})
    else:
        say(f"server {what}" + (f" (PID {pid})" if pid else ""))
    return 0
