"""`liftlock pin`: change MLflow's version in every file of a repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liftlock.cli.common import confirm, emit, json_option, progress, say, yes_option
from liftlock.errors import Refused, UsageError

if TYPE_CHECKING:
    from liftlock.pins.proposal import Proposal
    from liftlock.pins.supporting import Support
    from liftlock.pins.tracking import Update
    from liftlock.pins.transaction import Record

STATUSES = ("blocked", "monitoring", "queued", "shipped")


@click.command()
@click.argument("version", required=False)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Change nothing; status 1 when a place names another version.")
@click.option("--diff", "diff_only", is_flag=True, help="Show the change and stop.")
@click.option("--docs", is_flag=True, help="Change documentation too.")
@click.option("--offline", is_flag=True, help="Ask no package index and run no lock tool.")
@click.option("--no-relock", is_flag=True, help="Leave lock files alone and report them as stale.")
@click.option("--old", "past", multiple=True, metavar="VERSION", help="Look for what still names VERSION, too.")
@click.option("--image-digest", "digests", multiple=True, metavar="IMAGE=sha256:...", help="New digest of an image.")
@click.option("--registry", is_flag=True, help="Ask the images' registries for the new tags and their digests.")
@click.option("--drop-digests", is_flag=True, help="Remove digests of images that also have a tag.")
@click.option("--plain-directory", "plain", is_flag=True, help="PATH need not be a Git repository.")
@click.option("--support", "supported", is_flag=True, help="Resolve requirements; stop where other pins conflict.")
@click.option("--build", is_flag=True, help="With --support: also install what resolves, and import it.")
@click.option("--undo", "undo_last", is_flag=True, help="Take back the last pin of PATH.")
@click.option("--image-tag", metavar="IMAGE", help="Tracking file: the image, with its tag.")
@click.option("--release-notes", metavar="URL", help="Tracking file: where the release notes are.")
@click.option("--upgrade-status", type=click.Choice(STATUSES), help="Tracking file: how far the upgrade has come.")
@click.option("--last-verified", metavar="DATE", help="Tracking file: when the checklist was last gone through.")
@click.option("--cve", "cves", multiple=True, metavar="ID", help="Tracking file: an advisory that stays open.")
@click.option("--no-cve", is_flag=True, help="Tracking file: none stays open.")
@click.option("--mitigation", "mitigations", multiple=True, metavar="TEXT", help="Tracking file: what helps meanwhile.")
@click.option("--no-mitigation", is_flag=True, help="Tracking file: nothing is.")
@click.option(
    "--checklist", "checks", multiple=True, metavar="TEXT", help="Tracking file: the entries of the checklist."
)
@click.option("--owner", "owners", multiple=True, metavar="ROLE=NAME", help="Tracking file: an owner, as in dri=Jane.")
@click.option("--watched", multiple=True, metavar="VERSION", help="Tracking file: a release to wait for.")
@click.option("--freeze", metavar="REASON", help="Tracking file: refuse every later change of version.")
@click.option("--thaw", is_flag=True, help="Tracking file: end a freeze.")
@click.option("--status", metavar="TEXT", help="SECURITY.md: the status in MLflow's row.")
@yes_option
@json_option
def command(
    version: str | None, path: Path | None, check: bool, diff_only: bool, docs: bool, offline: bool, no_relock: bool,
    past: tuple[str, ...], digests: tuple[str, ...], registry: bool, drop_digests: bool, plain: bool,
    supported: bool, build: bool, undo_last: bool, image_tag: str | None, release_notes: str | None,
    upgrade_status: str | None, last_verified: str | None, cves: tuple[str, ...], no_cve: bool,
    mitigations: tuple[str, ...], no_mitigation: bool, checks: tuple[str, ...], owners: tuple[str, ...],
    watched: tuple[str, ...], freeze: str | None, thaw: bool, status: str | None, yes: bool, as_json: bool,
) -> int:  # fmt: skip
    """Make every file below PATH (default: here) name MLflow VERSION: all of them, or none.

    Requirements, pyproject, setup, Pipfile, Conda, MLproject, Dockerfiles, compose, Helm, Kubernetes, CI, Terraform,
    Makefiles, shell, SECURITY.md, release tracking; lock files by their own tools. The diff comes first. What still
    names another version afterwards is listed, and the status is then 1.

    \b
    Examples:
      liftlock pin 3.17.2
      liftlock pin 3.17.2 ~/src/platform --docs --yes
      liftlock pin 3.17.2 --check --old 2.9.2
      liftlock pin --undo
    """
    if undo_last:
        if version is not None and path is not None:
            raise UsageError("--undo takes PATH only", hint="liftlock pin --undo PATH")
        return _undo(path or Path(version or "."), plain=plain, as_json=as_json)
    if version is None:
        raise UsageError("which version?", hint="liftlock pin 3.17.2 [PATH]")
    from liftlock.app.pin import Options, apply, prepare, support
    from liftlock.model.release import Release

    options = Options(
        docs=docs, offline=offline, relock=not no_relock, plain=plain, digests=_digests(digests),
        drop_digests=drop_digests, past=past, registry=registry,
        tracking=_update(
            image_tag, release_notes, upgrade_status, last_verified, cves, no_cve, status, mitigations, no_mitigation,
            checks, owners, watched, freeze, thaw,
        ),
    )  # fmt: skip
    release = Release.parse(version)
    with progress(quiet=as_json) as observer:
        proposed = prepare(path or Path(), release, options, observer)
        supporting = support(proposed, release, observer, build=build) if supported or build else []
    proposal = proposed.proposal
    only_look = check or diff_only
    if not as_json:
        _show(proposal, proposed.recovered)
        _show_support(supporting)
    if conflicts := [each for each in supporting if each.conflict]:
        raise Refused(
            f"{conflicts[0].path}:1: its other pins do not allow MLflow {release}: {conflicts[0].conflict}",
            hint="; ".join(
                f"{each.package}{each.before} would have to be {each.package}=={each.after}"
                for each in conflicts[0].proposals
            )
            or "Loosen the pins it names; nothing was changed.",
        )
    if proposal.frozen and proposal.changes and not only_look:
        raise Refused(f"{proposal.frozen}; nothing was changed", hint="The freeze ends with --thaw.")
    if proposal.changes and not only_look:
        confirm(f"Change {len(proposal.changes)} files?", yes=yes)
        apply(proposed)
    if as_json:
        emit(_as_json(proposal, proposed.recovered, supporting, applied=bool(proposal.changes) and not only_look))
    elif proposal.changes and not only_look:
        say(f"changed {len(proposal.changes)} files; `liftlock pin --undo` takes it back")
    if check:
        return 0 if proposal.pinned else 1
    return 0 if proposal.complete else 1


def _undo(path: Path, *, plain: bool, as_json: bool) -> int:
    from liftlock.app.pin import undo

    record = undo(path, plain=plain)
    if as_json:
        emit({"undone": record.title, "files": [entry.path for entry in record.files]})
    else:
        say(f"undone: {record.title} ({len(record.files)} files)")
    return 0


def _update(
    image_tag: str | None, release_notes: str | None, upgrade_status: str | None, last_verified: str | None,
    cves: tuple[str, ...], no_cve: bool, status: str | None, mitigations: tuple[str, ...], no_mitigation: bool,
    checks: tuple[str, ...], owners: tuple[str, ...], watched: tuple[str, ...], freeze: str | None, thaw: bool,
) -> Update | None:  # fmt: skip
    from liftlock.pins.tracking import Update, UpgradeStatus

    for name, given, none in (
        ("--cve and --no-cve", cves, no_cve), ("--mitigation and --no-mitigation", mitigations, no_mitigation),
        ("--freeze and --thaw", freeze, thaw),
    ):  # fmt: skip
        if given and none:
            raise UsageError(f"{name} exclude each other")
    roles = dict(each.partition("=")[::2] for each in owners)
    if any("=" not in each for each in owners) or not all(map(str.strip, roles)):
        raise UsageError("--owner takes ROLE=NAME", hint="--owner dri='Jane Doe' --owner backup='Joe Bloggs'")
    if freeze is not None and not freeze.strip():
        raise UsageError("--freeze needs a reason")
    update = Update(
        container_image=image_tag,
        release_notes_url=release_notes,
        upgrade_status=UpgradeStatus(upgrade_status) if upgrade_status else None,
        last_verified=last_verified,
        safety_cves=cves if cves or no_cve else None,
        status=status,
        mitigations=mitigations if mitigations or no_mitigation else None,
        verification_checklist=checks or None,
        owners=roles or None,
        watched=watched or None,
        freeze="" if thaw else freeze,
    )
    return None if update == Update() else update


def _digests(words: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for word in words:
        image, _, digest = word.partition("=")
        number = digest.removeprefix("sha256:")
        if not image or len(number) != 64 or set(number) - set("0123456789abcdef"):
            raise UsageError(f"{word!r} is not IMAGE=sha256: and 64 hexadecimal digits")
        found[image] = f"sha256:{number}"
    return found


def _show(proposal: Proposal, recovered: Record | None) -> None:
    from liftlock.report.text import table

    if recovered is not None:
        say(f"an interrupted change was taken back first: {recovered.title}")
    if proposal.changes:
        say(proposal.diff())
        say()
    rows = [
        (f"{moved.path}:{moved.line}", moved.what, moved.before, moved.after)
        for each in proposal.changes
        for moved in each.moved
    ]
    rows += [(f"{each.path}:1", "file", "rewritten, see the diff", "") for each in proposal.changes if not each.moved]
    if rows:
        say(table(("place", "what", "before", "after"), [[_short(cell) for cell in row] for row in rows]))
    elif not proposal.pins:
        say("nothing here names a version of MLflow")
    else:
        say(f"all {proposal.pins} places name MLflow {proposal.target.version}")
    for stale in proposal.stale:
        say(f"stale: {stale.path}:{stale.line} holds {stale.version}: {stale.reason}")
    for left in proposal.leftovers:
        say(f"{left.kind.value}: {left.path}:{left.line} names {left.version}: {left.text}")


def _show_support(supporting: list[Support]) -> None:
    for each in supporting:
        if not each.conflict:
            say(f"resolves: {each.path} with its {len(each.requirements)} requirements")
        for proposed in each.proposals:
            say(f"proposed: {each.path}: {proposed.package}{proposed.before} -> {proposed.package}=={proposed.after}")


def _short(cell: str) -> str:
    flat = " ".join(cell.split())
    return flat if len(flat) <= 60 else f"{flat[:57]}..."


def _as_json(
    proposal: Proposal, recovered: Record | None, supporting: list[Support], *, applied: bool
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "version": str(proposal.target.version),
        "old": list(proposal.old),
        "pins": proposal.pins,
        "applied": applied,
        "complete": proposal.complete,
        "recovered": recovered.title if recovered else None,
        "changes": [
            {"path": each.path, "diff": each.diff(), "pins": [asdict(moved) for moved in each.moved]}
            for each in proposal.changes
        ],
        "support": [asdict(each) for each in supporting],
        "stale": [asdict(each) for each in proposal.stale],
        "leftovers": [asdict(each) for each in proposal.leftovers],
    }
