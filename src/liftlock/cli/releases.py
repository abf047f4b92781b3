"""`liftlock releases`: the catalogue of MLflow releases, differences between two, environments built from one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from liftlock.cli.common import emit, json_option, progress, say
from liftlock.cli.releases_compat import compat, measure
from liftlock.cli.releases_watch import watch
from liftlock.errors import UsageError

if TYPE_CHECKING:
    from liftlock.knowledge.catalogue import Catalogue
    from liftlock.knowledge.catalogue_diff import Change, Diff
    from liftlock.model.release import Release

_TITLES = {
    "api": "Python API", "cli": "Command line", "rest": "REST endpoints", "environment": "Environment variables",
    "flavors": "Flavors", "dependencies": "Dependencies", "tracking": "Tracking database migrations",
    "auth": "Auth database migrations",
}  # fmt: skip


@click.group("releases")
def command() -> None:
    """What is known of every MLflow release, and environments built from them.

    \b
    Examples:
      liftlock releases list --filter 3.1
      liftlock releases show 3.17.2 --section cli --filter server
      liftlock releases diff 2.9.2 3.17.2 --breaking
      liftlock releases path 2.9.2 3.17.2
      liftlock releases refresh
      liftlock releases compat --client 2.9.2 --detail
      liftlock releases build 3.17.2
    """


command.add_command(compat)
command.add_command(measure)
command.add_command(watch)


def _catalogue() -> Catalogue:
    from liftlock.app.catalogue import current

    catalogue, warning = current()
    if warning:
        click.echo(f"warning: {warning}", err=True)
    return catalogue


def _release(catalogue: Catalogue, text: str) -> Release:
    from liftlock.model.release import Release

    return catalogue.newest if text == "newest" else catalogue.require(Release.parse(text))


@command.command("list")
@click.option("--filter", "pattern", default="", help="Only releases whose number begins with this.")
@click.option("--since", default="", metavar="DAY", help="Only releases built on this day (2026-01-31) or later.")
@click.option("--head", default="", metavar="REVISION", help="Only releases that leave a database at this revision.")
@click.option(
    "--order", type=click.Choice(["version", "publication"]), default="version", show_default=True,
    help="Patches of an old line come out after newer ones.",
)  # fmt: skip
@json_option
def list_(pattern: str, since: str, head: str, order: str, as_json: bool) -> None:
    """List the releases with the Python each declares and the database revisions it leaves behind.

    --head says which MLflow wrote a database: the revision is what its table alembic_version holds.
    """
    from liftlock.model.deployment import Role
    from liftlock.report.text import table

    if since and not re.fullmatch(r"\d{4}(-\d\d){0,2}", since):
        raise UsageError(f"{since!r} is not a day", hint="Write it as 2026-01-31, 2026-01 or 2026.")
    catalogue = _catalogue()
    rows = []
    for release in catalogue.published() if order == "publication" else catalogue.releases:
        heads = [catalogue.head(release, role) for role in (Role.TRACKING, Role.AUTH)]
        other = bool(head) and head not in heads
        if other or not str(release).startswith(pattern) or catalogue.built(release) < since:
            continue
        rows.append((release.version, catalogue.built(release), catalogue.python(release), *heads))
    names = ("release", "built", "python", "tracking", "auth")
    if as_json:
        emit({"made": catalogue.contents.made, "releases": [dict(zip(names, row, strict=True)) for row in rows]})
        return
    say(table(names, [["-" if cell in (None, "") else cell for cell in row] for row in rows]))
    say(f"\n{len(rows)} releases, catalogue of {catalogue.contents.made}")
    if head:
        say(catalogue.release_of_head(head).message)


@command.command("show")
@click.argument("version")
@click.option("--section", type=click.Choice(list(_TITLES)), help="Show one section in full.")
@click.option("--filter", "pattern", default="", help="Only names that contain this.")
@json_option
def show(version: str, section: str | None, pattern: str, as_json: bool) -> None:
    """Show one release: its floors, what bounds it needs today, and each surface; --section shows what is in one.

    \b
    Examples:
      liftlock releases show 2.9.2
      liftlock releases show 3.17.2 --section cli --filter server
    """
    catalogue = _catalogue()
    release = _release(catalogue, version)
    if section is not None:
        _section(catalogue, release, section, pattern, as_json)
        return
    from liftlock.knowledge import constraints
    from liftlock.model.deployment import Role
    from liftlock.report.text import table

    runs_on, traps = constraints.python_range(release), constraints.traps(release)
    counts = {name: len(catalogue.section(name, release)) for name in _TITLES}
    facts: dict[str, object] = {
        "release": release.version, "built": catalogue.built(release), "python": catalogue.python(release) or "-",
        "runs on": f"Python {runs_on.minimum} to {runs_on.maximum}",
        "tracking head": catalogue.head(release, Role.TRACKING) or "-",
        "auth head": catalogue.head(release, Role.AUTH) or "-",
        "catalogue": catalogue.contents.made,
    }  # fmt: skip
    if as_json:
        emit({**facts, "needs": {each.requirement: each.reason for each in traps}, "counts": counts})
        return
    say("\n".join(f"{name:<14} {value}" for name, value in facts.items()))
    say()
    if traps:
        rows = [(each.requirement, each.reason) for each in traps]
        say(table(("needs today", "because"), rows))
        say()
    say(table(("section", "facts", "for"), [(name, counts[name], title) for name, title in _TITLES.items()]))


def _section(catalogue: Catalogue, release: Release, section: str, pattern: str, as_json: bool) -> None:
    from liftlock.report.text import table

    facts = {key: fact for key, fact in sorted(catalogue.section(section, release).items()) if pattern in key}
    if as_json:
        emit({key: {"value": fact.value, "source": fact.source} for key, fact in facts.items()})
        return
    say(table(("name", "value", "read in"), [(key, _line(fact.value, 70), fact.source) for key, fact in facts.items()]))


@command.command("diff")
@click.argument("before")
@click.argument("after")
@click.option("--section", type=click.Choice(list(_TITLES)), multiple=True, help="Only these sections.")
@click.option("--breaking", is_flag=True, help="Only what may break something written for the older release.")
@click.option("--filter", "pattern", default="", help="Only names that contain this.")
@click.option("--all", "everything", is_flag=True, help="The whole Python surface, not only the API reference.")
@json_option
def diff(
    before: str, after: str, section: tuple[str, ...], breaking: bool, pattern: str, everything: bool, as_json: bool
) -> None:
    """Show what really changed between two releases, computed from their files."""
    from liftlock.knowledge import catalogue_diff

    catalogue = _catalogue()
    found = catalogue_diff.diff(
        catalogue, _release(catalogue, before), _release(catalogue, after), everything=everything
    )
    kept = [
        change
        for change in found.changes
        if (not section or change.section in section) and (change.breaks or not breaking) and pattern in change.key
    ]
    if as_json:
        emit({"source": found.source, "target": found.target, "catalogue": catalogue.contents.made,
              "python": [found.python_before, found.python_after], "changes": kept})  # fmt: skip
        return
    say(_diff_text(found, kept))


def _diff_text(found: Diff, kept: list[Change]) -> str:
    lines = [f"MLflow {found.source} to {found.target}"]
    if found.python_before != found.python_after:
        lines.append(f"Python {found.python_before or 'not declared'} becomes {found.python_after or 'not declared'}")
    for name, title in _TITLES.items():
        mine = [change for change in kept if change.section == name]
        if not mine:
            continue
        counts = {what: sum(change.what == what for change in mine) for what in ("added", "removed", "changed")}
        lines += ["", f"{title}: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count)]
        for change in mine:
            mark = {"added": "+", "removed": "-", "changed": "~"}[change.what.value]
            breaks = "!" if change.breaks else " "
            lines.append(f" {breaks}{mark} {change.key}{_explained(change)}")
    lines += ["", "! may break what was written for the older release"] if any(c.breaks for c in kept) else []
    return "\n".join(lines)


def _explained(change: Change) -> str:
    if change.section == "api":
        doubt = "" if change.certain else " (a decorator may hide more)"
        return f"  {_line(change.detail, 160)}{doubt}" if change.what.value == "changed" or change.detail else ""
    if change.what.value == "changed":
        return f"  {_line(change.before, 60) or '(nothing)'} -> {_line(change.after, 60) or '(nothing)'}"
    return f"  {_line(change.after or change.before, 60)}" if change.section in ("dependencies", "flavors") else ""


@command.command("path")
@click.argument("before")
@click.argument("after")
@json_option
def path(before: str, after: str, as_json: bool) -> None:
    """Show the way between two releases: its kind, the stops it needs, and each database migration on it."""
    from liftlock.app.way import way
    from liftlock.report.text import table

    catalogue = _catalogue()
    found = way(catalogue, _release(catalogue, before), _release(catalogue, after))
    if as_json:
        emit(found)
        return
    say(f"MLflow {found.source} to {found.target}: {found.kind.value}")
    say(f"stops: {', '.join(stop.at for stop in found.stops) or 'none'} ({found.why})")
    if found.python:
        say(f"Python: {found.python}")
    rows = [(each.chain, each.revision, str(each.release), each.title) for each in found.migrations]
    say()
    say(table(("database", "revision", "first in", "migration"), rows) if rows else "no database migration")


@command.command("refresh")
@click.option("--into", type=click.Path(file_okay=False), help="Write here instead of into liftlock's cache.")
@json_option
def refresh(into: str | None, as_json: bool) -> None:
    """Read every release from your own package index again; only what is new is fetched.

    About 3 GB of distributions are kept in the cache. A run that is cut off goes on where it stopped.
    """
    from pathlib import Path

    from liftlock.app.releases import Refresher
    from liftlock.releases.environment import default_cache

    target = Path(into) if into else default_cache() / "catalogue"
    with progress(quiet=as_json) as observer:
        contents = Refresher(observer=observer).refresh(target)
    if as_json:
        emit(contents)
        return
    say(f"{len(contents.releases)} releases, {contents.releases[0]} to {contents.releases[-1]}, in {target}")
    for version, reason in contents.missing.items():
        say(f"without {version}: {reason}")


@command.command("build")
@click.argument("version")
@click.option("--python", default="", help="A Python version to prefer, such as 3.11.")
@json_option
def build(version: str, python: str, as_json: bool) -> None:
    """Build the environment of a release, locked and proven to start, so that an upgrade need not wait for it."""
    from liftlock.model.release import Release
    from liftlock.releases.environment import Environments

    with progress(quiet=as_json) as observer:
        made = Environments().build(Release.parse(version), python=python, observer=observer)
    if as_json:
        emit({"release": made.release, "python": made.python, "python_version": made.python_version,
              "lock_digest": made.lock_digest, "proof": made.proof})  # fmt: skip
        return
    say(f"MLflow {made.release} on Python {made.python_version}: {made.python}")


def _line(text: str, width: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."
