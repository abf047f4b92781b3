"""`liftlock releases compat` and `measure`: which clients work with which servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from liftlock.cli.common import emit, json_option, progress, say

if TYPE_CHECKING:
    from liftlock.knowledge.compatibility import Judgement, Table
    from liftlock.model.release import Release


@click.command("compat")
@click.option(
    "--client", "clients", multiple=True, metavar="VERSION", help="Judge this client (default: the measured)."
)
@click.option("--server", "servers", multiple=True, metavar="VERSION", help="With this server (default: the measured).")
@click.option("--detail", is_flag=True, help="Also list each operation that does not work, in the client's own words.")
@json_option
def compat(clients: tuple[str, ...], servers: tuple[str, ...], detail: bool, as_json: bool) -> None:
    """Show which clients work with which servers, as it was measured with real ones.

    A round is 31 operations. A pair that was not run is judged from its measured neighbours, where they agree.
    """
    from liftlock.knowledge import compatibility
    from liftlock.model.release import Release

    table = compatibility.load()
    olds = [Release.parse(each) for each in clients] or list(table.clients)
    news = [Release.parse(each) for each in servers] or list(table.servers)
    judged = {(old, new): compatibility.judge(table, old, new) for old in olds for new in news}
    if as_json:
        rounds = [each for each in table.rounds if each.client in olds and each.server in news]
        emit({"made": table.made, "operations": table.operations, "judgements": list(judged.values()),
              "rounds": rounds, "unmeasured": table.unmeasured})  # fmt: skip
        return
    say(_compat_text(table, judged, detail))


def _compat_text(table: Table, judged: dict[tuple[Release, Release], Judgement], detail: bool) -> str:
    from liftlock.report.text import table as columns

    news = list(dict.fromkeys(new for _, new in judged))
    rows = [
        [str(old), *(_compat_cell(table, judged[old, new]) for new in news)]
        for old in dict.fromkeys(old for old, _ in judged)
    ]
    lines = [columns(("client \\ server", *map(str, news)), rows), ""]
    lines.append(
        f"{len(table.operations)} operations a round, measured {table.made} on {table.store}; n/a: this client has no "
        "such call; ~: judged from neighbours"
    )
    if detail:
        for found in judged.values():
            pair = table.round(found.client, found.server)
            lines += ["", f"client {found.client}, server {found.server}: {found.state.value} ({found.evidence})"]
            if pair is not None:
                lines += [
                    f"  {each.result.value:<8} {each.operation}: {each.message[:150]}" for each in pair.deviations
                ]
            else:
                lines += [f"  fails    {each}" for each in found.broken]
    return "\n".join(lines)


def _compat_cell(table: Table, found: Judgement) -> str:
    pair = table.round(found.client, found.server)
    if pair is None:
        return "unknown" if found.state.value == "unknown" else f"~{found.state.value}"
    failed, missing = len(table.broken(pair)), sum(each.result.value == "n/a" for each in pair.deviations)
    fine = len(table.operations) - failed - missing
    return f"{fine} ok" + (f", {failed} fail" if failed else "") + (f", {missing} n/a" if missing else "")


@click.command("measure")
@click.option("--client", "clients", multiple=True, metavar="VERSION", help="A client to measure (default: ours).")
@click.option("--server", "servers", multiple=True, metavar="VERSION", help="A server to measure with (default: ours).")
@click.option("--into", type=click.Path(dir_okay=False), help="Write the results into this file.")
@json_option
def measure(clients: tuple[str, ...], servers: tuple[str, ...], into: str | None, as_json: bool) -> None:
    """Run a round of 31 operations of real clients against real servers, on scratch databases of its own.

    Builds an environment for each release; about 10 seconds a pair. A run that is cut off goes on where it stopped.
    """
    from pathlib import Path

    from liftlock import files
    from liftlock.app.compatibility import CLIENTS, SERVERS, Measurer
    from liftlock.effects import side_effect
    from liftlock.knowledge import compatibility
    from liftlock.model.codec import to_json
    from liftlock.model.release import Release
    from liftlock.releases.environment import Environments
    from liftlock.releases.index import Index

    environments = Environments()
    with progress(quiet=as_json) as observer:
        newest = () if clients and servers else (str(Index(environments.root).newest_installable(observer)),)
        found = Measurer(environments, observer).measure(
            [Release.parse(each) for each in clients or (*CLIENTS, *newest)],
            [Release.parse(each) for each in servers or (*SERVERS, *newest)],
        )
    if into is not None:
        with side_effect("write compatibility"):
            files.write_atomic(Path(into), to_json(found, indent=1) + "\n", mode=0o644)
    if as_json:
        emit(found)
        return
    judged = {(old, new): compatibility.judge(found, old, new) for old in found.clients for new in found.servers}
    say(_compat_text(found, judged, detail=bool(clients or servers)))
