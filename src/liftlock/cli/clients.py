"""`liftlock clients`: who really calls this server, and who breaks with another release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from liftlock.cli.common import State, emit, json_option, pass_state, say
from liftlock.errors import UsageError

if TYPE_CHECKING:
    from liftlock.app.clients import Inventory
    from liftlock.model.release import Release


@click.command("clients")
@click.argument("logs", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--from", "source", metavar="VERSION", help="The server's release (default: the deployment's).")
@click.option("--to", "target", metavar="VERSION", help="Say what becomes of each client with this release.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Only the last DAYS days.")
@click.option("--endpoints", is_flag=True, help="Also list what each client calls most.")
@json_option
@pass_state
def command(
    state: State, logs: tuple[Path, ...], source: str | None, target: str | None, days: float | None, endpoints: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """List the clients in LOGS: version, requests, when last seen; with --to whether each works with that release.

    LOGS are access logs of gunicorn, nginx (common or combined format), uvicorn or liftlock's gate, plain or gzipped
    (default: the log of the gate in front of this server). Exit status 1: a client breaks, or cannot be told.

    \b
    Examples:
      liftlock clients
      liftlock clients --to 3.17.2 --days 30
      liftlock clients /var/log/nginx/access.log* --from 2.9.2 --to 3.17.2 --endpoints
    """
    from liftlock import clock
    from liftlock.app.catalogue import current
    from liftlock.app.clients import gate_logs, inventory
    from liftlock.model.release import Release

    chosen = logs or gate_logs(state.workspace().state / "gate")
    if not chosen:
        raise UsageError(
            "no gate has written an access log here",
            hint="Give the log of your server or proxy, or put a gate in front with `liftlock gate install`.",
        )
    old: Release | None = None
    if source is not None:
        old = Release.parse(source)
    elif target is not None:
        old = state.workspace().config.release
    found = inventory(
        chosen, current()[0], source=old, target=Release.parse(target) if target else None,
        since=clock.now().timestamp() - days * 86_400 if days else 0.0,
    )  # fmt: skip
    if as_json:
        emit(found)
    else:
        say(_text(found, endpoints))
    return 1 if any(each.state.value != "works" for each in found.fates) else 0


def _text(found: Inventory, endpoints: bool) -> str:
    from liftlock.knowledge.fates import counted
    from liftlock.report.document_text import columns
    from liftlock.report.plan_clients import clients_table, day
    from liftlock.report.text import table

    read = found.read
    lines = [f"{read.lines} requests in {len(read.files)} logs"]
    if read.strange:
        lines[0] += f"; {read.strange} lines are no requests"
    if found.target is not None:
        shown = clients_table(found.fates, "")
        lines += [f"what becomes of each with MLflow {found.target}", "", columns(shown.headers, shown.rows)]
    else:
        rows = [
            (f"{each.kind} {each.version}".strip(), each.requests, each.writes, each.failed, each.peers, day(each.last),
             len(each.endpoints))
            for each in read.clients
        ]  # fmt: skip
        headers = ("client", "requests", "writes", "failed", "hosts", "last seen", "endpoints")
        lines += ["", table(headers, rows)]
    if endpoints:
        for each in read.clients:
            lines += ["", f"{each.kind} {each.version}".strip()]
            lines += [f"  {count:>9}  {name}" for name, count in counted(each.endpoints, 20)]
    return "\n".join(lines).replace("`", "")
