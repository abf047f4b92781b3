"""`liftlock gate`: put a gate in front of the server, run one, see its state and its clients."""

from __future__ import annotations

from pathlib import Path

import click

from liftlock.cli.common import F, State, confirm, emit, json_option, pass_state, say, yes_option
from liftlock.errors import UsageError


@click.group("gate")
def command() -> None:
    """The gate in front of MLflow: it can hold writes and move traffic to another server.

    \b
    Examples:
      liftlock gate install
      liftlock gate run --listen 0.0.0.0:5000 --upstream 127.0.0.1:5001
      liftlock gate status
      liftlock gate clients
    """


def _directory_option(function: F) -> F:
    """The option every command here has."""
    return click.option(
        "--dir", "directory", type=click.Path(file_okay=False, path_type=Path),
        help="The gate's own directory (default: .liftlock/gate beside liftlock.toml).",
    )(function)  # fmt: skip


@command.command("run")
@click.option("--listen", required=True, help="HOST:PORT that clients use.")
@click.option("--upstream", required=True, help="HOST:PORT of the server; ignored once the gate has a state.")
@click.option("--static-prefix", default="", help="The server's --static-prefix.")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificate (PEM).")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its key (PEM).")
@click.option("--beside", type=int, hidden=True, help="UID of a server that lends its port (gate install --take-over).")
@_directory_option
@pass_state
def run(
    state: State,
    listen: str,
    upstream: str,
    static_prefix: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    beside: int | None,
    directory: Path | None,
) -> int:
    """Serve until told to stop. Which server is live is read from the gate's state, not from --upstream."""
    from liftlock.gate import serve
    from liftlock.gate.model import Address, Settings

    def ready(address: Address, live: Address) -> None:
        say(f"gate listens on {address}, upstream {live}")

    try:
        settings = Settings(
            listen=Address.parse(listen), upstream=Address.parse(upstream), directory=_directory(state, directory),
            static_prefix=static_prefix, certificate=tls_cert, key=tls_key,
            beside=beside,
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(str(error)) from error
    serve.run(settings, ready=ready)
    return 0


@command.command("install")
@click.option("--port", type=int, help="The server's own port behind the gate (default: a free one).")
@click.option("--take-over", is_flag=True, help="Without a pause: take the port over from the running server.")
@click.option("--drain", type=float, default=30.0, show_default=True, metavar="SECONDS",
              help="With --take-over: how long the old server's connections may last.")  # fmt: skip
@yes_option
@json_option
@pass_state
def install(state: State, port: int | None, take_over: bool, drain: float, yes: bool, as_json: bool) -> int:
    """Put a gate on the server's address and the server behind it.

    With one restart, during which requests wait; or with --take-over: a second server is started behind, the gate gets
    every new connection to the port that the running one keeps, and that one is stopped when its connections ended.
    --take-over needs Linux 5.6, the right to trace the server's process (its user, or root), memory for two servers
    for a moment, and a server that runs no MLflow jobs.

    \b
    Examples:
      liftlock gate install
      liftlock gate install --take-over --yes
    """
    from liftlock.app import gate

    workspace = state.workspace()
    section = workspace.config.server
    act = "Take over the port of the server" if take_over else "Restart the server behind a gate"
    confirm(f"{act} on {section.host}:{section.port}?", yes=yes)
    reply = gate.install(workspace, port=port, take_over=take_over, drain=drain)
    if as_json:
        emit(reply)
    else:
        say(f"gate (PID {reply.pid}) on {reply.listen}, server on {reply.state.upstream}")
        say("After a reboot it must run again: `liftlock gate unit` prints a unit for systemd.")
    return 0


@command.command("remove")
@yes_option
@pass_state
def remove(state: State, yes: bool) -> int:
    """Take the gate away and give the server its address back: one restart."""
    from liftlock.app import gate

    workspace = state.workspace()
    confirm("Restart the server without the gate?", yes=yes)
    gate.remove(workspace)
    say("the gate is gone; the server listens where clients connect")
    return 0


@command.command("unit")
@pass_state
def unit(state: State) -> int:
    """Print a systemd unit that runs the gate after a crash and after a reboot.

    \b
    Examples:
      liftlock gate unit | sudo tee /etc/systemd/system/liftlock-gate.service
      sudo systemctl enable --now liftlock-gate   # takes over as soon as the gate that runs now has ended
    """
    from liftlock.app import gate_unit

    say(gate_unit.unit(state.workspace()).rstrip("\n"))
    return 0


@command.command("status")
@_directory_option
@json_option
@pass_state
def status(state: State, directory: Path | None, as_json: bool) -> int:
    """Phase, generation, upstream, and what is in flight or held."""
    from liftlock.gate.client import GateClient
    from liftlock.gate.installed import load

    place = _directory(state, directory)
    with GateClient(place / "control.sock") as client:
        reply = client.status()
    if as_json:
        emit(reply)
        return 0
    assert reply.counts is not None
    say(f"gate (PID {reply.pid}) on {reply.listen}: {reply.state.phase}, generation {reply.state.generation}")
    for side in reply.counts.sides:
        say(f"  {side.address}: {side.reads} reads and {side.writes} writes in flight")
    say(f"  {reply.counts.clients} clients, {reply.counts.held} writes held")
    record = load(place)
    if record is not None and record.leaving is not None:
        pid = record.leaving.pid
        say(f"  it takes the port over from PID {pid}; if that was cut off, `liftlock gate install` goes on")
    return 0


@command.command("metrics")
@_directory_option
@pass_state
def metrics(state: State, directory: Path | None) -> int:
    """Prometheus' text, as the control socket serves it."""
    from liftlock.gate.client import GateClient

    with GateClient(_directory(state, directory) / "control.sock") as client:
        say(client.metrics().rstrip())
    return 0


@command.command("clients")
@click.option("--days", type=float, default=0.0, help="Only the last DAYS days (default: the whole log).")
@_directory_option
@json_option
@pass_state
def clients(state: State, days: float, directory: Path | None, as_json: bool) -> int:
    """Who uses the server, by client version, from the access log."""
    from liftlock import clock
    from liftlock.gate.clients import report

    since = clock.now().timestamp() - days * 86_400 if days else 0.0
    uses = report(_directory(state, directory) / "access.log", since=since)
    if as_json:
        emit(list(uses))
        return 0
    for use in uses:
        name = f"{use.kind} {use.version}".strip()
        say(f"{name:<36} {use.requests:>9} requests  {use.writes:>9} writes  {use.failed:>7} failed  {use.peers} hosts")
    return 0


def _directory(state: State, given: Path | None) -> Path:
    return given if given is not None else state.workspace().state / "gate"
