"""`liftlock advisories`: CVEs by version and configuration, and what a hop fixes, leaves and gains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from liftlock.cli.common import emit, json_option, say
from liftlock.errors import UsageError

if TYPE_CHECKING:
    from liftlock.knowledge.advisories import Report


@click.command("advisories")
@click.option("--from", "before", required=True, metavar="VERSION", help="The release that runs now.")
@click.option("--to", "after", metavar="VERSION", help="The release to go to (default: stay).")
@click.option("--with", "on", multiple=True, metavar="CONDITION", help="Holds here, for example basic-auth.")
@click.option("--without", "off", multiple=True, metavar="CONDITION", help="Does not hold here.")
@click.option("--osv", multiple=True, type=click.Path(dir_okay=False, path_type=Path), help="An OSV file to add.")
@click.option("--accepted", type=click.Path(dir_okay=False, path_type=Path), help="TOML file of accepted risks.")
@click.option("--all", "everything", is_flag=True, help="Also show what does not concern this configuration.")
@json_option
def command(
    before: str, after: str | None, on: tuple[str, ...], off: tuple[str, ...], osv: tuple[Path, ...],
    accepted: Path | None, everything: bool, as_json: bool,
) -> int:  # fmt: skip
    """Show which known flaws a release has, which are open in this configuration, and what an upgrade changes.

    Nothing is asked from the network: the table has a date, and OSV files can be added. Exit status 1: the target is
    open to something, or may be.

    \b
    Examples:
      liftlock advisories --from 2.9.2 --to 3.17.2
      liftlock advisories --from 2.9.2 --to 3.17.2 --with basic-auth --without untrusted-models
      liftlock advisories --from 3.10.1 --osv GHSA-2cm6-r77w-6g96.json --accepted risks.toml --json
    """
    from liftlock import clock
    from liftlock.app.releases import current
    from liftlock.knowledge import advisories
    from liftlock.model.release import Release

    table = advisories.load()
    conditions = {**dict.fromkeys(on, True), **dict.fromkeys(off, False)}
    if wrong := (set(on) & set(off)) or (conditions.keys() - table.conditions.keys()):
        raise UsageError(
            f"{', '.join(sorted(wrong))}: not a condition, or given both ways",
            hint=f"Conditions are: {', '.join(sorted(table.conditions))}.",
        )
    catalogue, _ = current()
    source = catalogue.require(Release.parse(before))
    target = catalogue.require(Release.parse(after)) if after else source
    rows = advisories.merged(table.advisory, [each for path in osv for each in advisories.read_osv(path)])
    found = advisories.report(
        source, target, advisories=rows, as_of=table.as_of, known=catalogue.releases, before=conditions,
        after=conditions, accepted=advisories.read_accepted(accepted) if accepted else (), today=clock.now().date(),
    )  # fmt: skip
    if as_json:
        emit(found)
    else:
        say(_text(found, table.conditions, everything))
    return 1 if found.needs_attention else 0


def _text(found: Report, conditions: dict[str, str], everything: bool) -> str:
    from liftlock.knowledge.advisories import State
    from liftlock.report.text import table

    quiet = () if everything else (State.NOT_EXPOSED,)
    lines = [f"MLflow {found.source} to {found.target}, advisories as of {found.as_of}"]
    stay = found.source == found.target
    asked: set[str] = set()
    for change in ("left",) if stay else ("gained", "left", "fixed"):
        rows = [row for row in found.rows if row.change == change]
        shown = [row for row in rows if row.after.state not in quiet or row.change == "fixed"]
        lines += ["", f"{'known' if stay else change}: {len(rows)}"]
        if not shown:
            continue
        cells = []
        for row in shown:
            verdict = row.before if change == "fixed" else row.after
            fix = (
                str(row.fix_in_line) if row.fix_in_line else "none in its line" if row.advisory.affected else "unknown"
            )
            cells.append((row.advisory.id, verdict.state.value, row.advisory.confidence, fix, row.advisory.title))
            asked.update(need for need in row.advisory.needs if need in verdict.why)
        lines.append(table(("advisory", "before" if change == "fixed" else "state", "trust", "fix", "what"), cells))
    unclear = sorted(need for need in asked if need != "unknown")
    if unclear:
        lines += ["", "Say with --with or --without whether these hold here:"]
        lines += [f"  {need:<18} {conditions[need]}" for need in unclear]
    return "\n".join(lines)
