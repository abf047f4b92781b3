"""`liftlock init`: describe a running deployment in liftlock.toml."""

from __future__ import annotations

from pathlib import Path

import click

from liftlock.cli.common import State, emit, json_option, pass_state, say


@click.command("init")
@click.option("--process", "pid", type=int, help="PID of the running server (default: the only one found).")
@click.option("--output", type=click.Path(dir_okay=False), default="liftlock.toml", show_default=True)
@click.option("--name", help="A name for the deployment (default: the working directory's).")
@click.option("--public-name", "public_names", multiple=True, help="A Host name clients use; repeatable.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@json_option
@pass_state
def command(
    state: State,
    pid: int | None,
    output: str,
    name: str | None,
    public_names: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> int:
    """Read a running server's real arguments, environment and databases, and write liftlock.toml.

    Passwords go to .liftlock/secrets.env (readable by you alone); the file itself names them only.

    \b
    Examples:
      liftlock init
      liftlock init --process 4242 --public-name mlflow.example.com
    """
    from liftlock.app.init import initialise

    target = Path(state.config or output)
    config, sources = initialise(target, pid=pid, name=name or "", public_names=public_names, force=force)
    if as_json:
        emit({"path": str(target), "config": config.dumps(), "sources": sources})
        return 0
    say(f"{target} describes MLflow {config.server.release} on {config.server.host}:{config.server.port}")
    for field, source in sorted(sources.items()):
        say(f"  {field}: from {source}")
    say("next: liftlock check")
    return 0
