"""`liftlock demo`: a real old MLflow, upgraded and brought back before your eyes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from liftlock.cli.common import emit, json_option, progress, say
from liftlock.errors import UsageError

if TYPE_CHECKING:
    from liftlock.app.demo_stages import Line


@click.command("demo")
@click.option("--from", "source", default="2.9.2", show_default=True, help="The old release.")
@click.option("--to", "target", help="The new release (default: the newest that installs).")
@click.option("--database", type=click.Choice(["sqlite", "postgresql"]), default="sqlite", show_default=True)
@click.option(
    "--strategy", type=click.Choice(["online", "standard"]), default="online", show_default=True,
    help="online: while real clients write. standard: with a rehearsal and a stop.",
)  # fmt: skip
@click.option("--directory", type=click.Path(file_okay=False), help="Where to do it (default: a temporary directory).")
@click.option("--keep", is_flag=True, help="Leave the directory for a look.")
@json_option
def command(
    source: str, target: str | None, database: str, strategy: str, directory: str | None, keep: bool, as_json: bool
) -> int:
    """Start a real old MLflow with real data and users, upgrade it while clients write, verify it, and roll back.

    Exits 0 only if every comparison held.

    \b
    Examples:
      liftlock demo
      liftlock demo --from 2.22.5 --database postgresql
    """
    from liftlock.app.demo import demo
    from liftlock.files import remove_tree
    from liftlock.model.plan import Strategy
    from liftlock.model.uri import Engine
    from liftlock.report import text

    place = Path(directory).absolute() if directory else Path(tempfile.mkdtemp(prefix="liftlock-demo-"))
    if place.exists() and any(place.iterdir()):
        raise UsageError(f"{place} is not empty", hint="Name a directory that does not exist yet.")

    def tell(line: Line) -> None:
        if not as_json:
            mark = "ok  " if line.ok else "FAIL"
            click.echo(f"{mark}  {text.seconds(line.seconds):>9}  {line.stage}: {line.result}", err=True)

    try:
        with progress(quiet=as_json) as observer:
            done = demo(
                place,
                source=source,
                target=target,
                database=Engine(database),
                strategy=Strategy(strategy),
                observer=observer,
                tell=tell,
            )
    finally:
        if keep:
            say(f"left in {place}")
        else:
            remove_tree(place)
    if as_json:
        emit(done)
        return 0 if done.ok else 1
    say()
    rows = [
        ("ok" if line.ok else "FAIL", line.stage, text.seconds(line.seconds) if line.seconds else "", line.result)
        for line in done.lines
    ]
    say(text.table(("", f"MLflow {done.source} to {done.target} and back, {database}", "took", "result"), rows))
    say("every comparison held" if done.ok else "NOT every comparison held")
    return 0 if done.ok else 1
