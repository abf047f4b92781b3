"""`liftlock advisories`: CVEs by version and configuration, and what a hop fixes, leaves and gains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from liftlock.cli.common import State, emit, json_option, pass_state, progress, say
from liftlock.errors import UsageError

if TYPE_CHECKING:
    from liftlock.app.audit import Audited
    from liftlock.knowledge.advisories import Report


@click.command("advisories")
@click.option("--from", "before", metavar="VERSION", help="The release that runs now (default: the deployment's).")
@click.option("--to", "after", metavar="VERSION", help="The release to go to (default: stay).")
@click.option("--with", "on", multiple=True, metavar="CONDITION", help="Holds here, for example basic-auth.")
@click.option("--without", "off", multiple=True, metavar="CONDITION", help="Does not hold here.")
@click.option(
    "--osv",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="An OSV file to add (with --packages, of any package).",
)
@click.option("--accepted", type=click.Path(dir_okay=False, path_type=Path), help="TOML file of accepted risks.")
@click.option("--packages", is_flag=True, help="Also ask pip-audit about every package beside MLflow.")
@click.option(
    "--osv-url", metavar="URL", help="With --packages: ask this OSV service, for example a mirror of your own."
)
@click.option("--all", "everything", is_flag=True, help="Also show what does not concern this configuration.")
@json_option
@pass_state
def command(
    state: State, before: str | None, after: str | None, on: tuple[str, ...], off: tuple[str, ...],
    osv: tuple[Path, ...], accepted: Path | None, packages: bool, osv_url: str | None, everything: bool, as_json: bool,
) -> int:  # fmt: skip
    """Show which known flaws a release has, which are open in this configuration, and what an upgrade changes.

    Without --from the deployment of liftlock.toml is looked at: its release, and whether it runs basic-auth, jobs, a
    file store or the artifact proxy. Nothing is asked from the network: the table has a date, and OSV files can be
    added. Only --packages asks: pip-audit, about the locked set of both releases' environments; what it could not
    tell is unknown. Exit status 1: the target is open to something, or may be.

    \b
    Examples:
      liftlock advisories --to 3.17.2
      liftlock advisories --from 2.9.2 --to 3.17.2 --with basic-auth --without untrusted-models
      liftlock advisories --to 3.17.2 --packages
      liftlock advisories --to 3.17.2 --packages --osv-url https://osv.example.com/v1/query
      liftlock advisories --from 3.10.1 --osv GHSA-2cm6-r77w-6g96.json --accepted risks.toml --json
    """
    from liftlock.app.advisories import advise
    from liftlock.knowledge import advisories
    from liftlock.model.codec import to_builtins

    if both := set(on) & set(off):
        raise UsageError(f"{', '.join(sorted(both))}: given with --with and with --without")
    found = advise(
        before, after, said={**dict.fromkeys(on, True), **dict.fromkeys(off, False)}, osv=osv, accepted=accepted,
        deployment=state.workspace().deployment() if before is None else None,
    )  # fmt: skip
    if osv_url and not packages:
        raise UsageError("--osv-url says whom to ask about packages", hint="Give --packages, too.")
    audited = _audited(state, before, after, osv, osv_url, quiet=as_json) if packages else None
    if as_json:
        emit(found if audited is None else {**to_builtins(found), "packages": audited})
    else:
        say(_text(found, advisories.load().conditions, everything))
        if audited is not None:
            say(_packages(audited))
    return 1 if found.needs_attention or (audited is not None and _open(audited)) else 0


def _audited(
    state: State, before: str | None, after: str | None, osv: tuple[Path, ...], osv_url: str | None, *, quiet: bool
) -> Audited:  # fmt: skip
    from liftlock.app.audit import audit
    from liftlock.model.release import Release
    from liftlock.releases.environment import Environments

    with progress(quiet=quiet) as observer:
        return audit(
            Environments(), Release.parse(before) if before else None, Release.parse(after) if after else None,
            state.workspace() if before is None else None, osv=osv, osv_url=osv_url, observer=observer,
        )  # fmt: skip


def _open(found: Audited) -> bool:
    end = found.after or found.before
    return bool(end.flaws or end.unknown)


def _packages(found: Audited) -> str:
    from liftlock.report.document import listed
    from liftlock.report.text import table

    end = found.after or found.before
    lines = ["", f"packages beside MLflow: {end.packages} locked, {len(end.flaws)} flaws, {len(end.unknown)} unknown"]
    rows = [
        (each.what if found.after else "open", f"{each.flaw.package} {each.flaw.version}", each.flaw.id,
         ", ".join(each.flaw.fixes) or "no fix known", each.flaw.summary[:80])
        for each in found.changes
    ]  # fmt: skip
    if rows:
        lines.append(table(("change", "package", "advisory", "fixed in", "what"), rows))
    by_reason: dict[str, list[str]] = {}
    for name, reason in end.unknown.items():
        by_reason.setdefault(reason.replace(name, "it"), []).append(name)
    lines += [f"unknown: {listed(names, 6)}: {reason}" for reason, names in by_reason.items()]
    return "\n".join(lines)


def _text(found: Report, conditions: dict[str, str], everything: bool) -> str:
    from liftlock.knowledge.advisories import State as Open
    from liftlock.report.text import table

    quiet = () if everything else (Open.NOT_EXPOSED,)
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
