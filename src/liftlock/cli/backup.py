"""`liftlock backup`: make, list, verify, restore and prune backup sets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from liftlock.cli.common import State, confirm, emit, json_option, pass_state, progress, say, status_of, yes_option
from liftlock.errors import UsageError

if TYPE_CHECKING:
    from liftlock.backup.sealing import Identities, Recipients

_PASSPHRASE = "LIFTLOCK_BACKUP_PASSPHRASE"  # noqa: S105 - the name of a variable


@click.group("backup")
def command() -> None:
    """One set holds all databases, the artifacts, the configuration and the environment's lock.

    Encryption uses the age format: `--encrypt-to age1...`, or `--encrypt` with the passphrase in
    LIFTLOCK_BACKUP_PASSPHRASE. Private keys are read from the file given with `--identity`.

    \b
    Examples:
      liftlock backup create --tag before-the-move
      liftlock backup verify latest
      liftlock backup restore 20261121T131055Z
      liftlock backup prune --keep-last 5
    """


@command.command("create")
@click.option("--tag", "tags", multiple=True, help="A name for the set; repeatable.")
@click.option("--full", is_flag=True, help="Copy all artifacts instead of sharing unchanged ones with the last set.")
@click.option("--keep", is_flag=True, help="Never prune this set.")
@click.option("--encrypt", is_flag=True, help=f"Encrypt with the passphrase in {_PASSPHRASE}.")
@click.option("--encrypt-to", "keys", multiple=True, metavar="AGE1...", help="Encrypt to this public key; repeatable.")
@click.option("--no-verify", is_flag=True, help="Do not restore it into a scratch place and compare.")
@json_option
@pass_state
def create(
    state: State,
    tags: tuple[str, ...],
    full: bool,
    keep: bool,
    encrypt: bool,
    keys: tuple[str, ...],
    no_verify: bool,
    as_json: bool,
) -> int:
    """Make a set while the server goes on, then verify it by restoring."""
    from liftlock.app import backup
    from liftlock.report import text

    with progress(quiet=as_json) as observer:
        made = backup.make(
            state.workspace(),
            tags=tags,
            full=full,
            keep=keep,
            encrypt_to=_recipients(encrypt, keys),
            check=not no_verify,
            observer=observer,
        )
    if as_json:
        emit(made)
        return status_of(made.findings)
    if made.findings:
        say(text.findings(made.findings))
    verified = "verified" if made.set.verified_at else "not verified"
    say(f"backup {made.set.id}: {text.size(made.set.bytes)}, {verified}")
    return status_of(made.findings)


@command.command("list")
@json_option
@pass_state
def list_(state: State, as_json: bool) -> int:
    """List the sets, oldest first. What was interrupted or is damaged is named apart."""
    from liftlock.app import backup
    from liftlock.report import text

    found = backup.listing(state.workspace())
    if as_json:
        emit(
            {
                "sets": list(found.sets),
                "damaged": [{"directory": str(path), "why": why} for path, why in found.damaged],
                "unfinished": [str(path) for path in found.unfinished],
            }
        )
        return 1 if found.damaged else 0
    rows = [
        (
            one.id,
            f"MLflow {one.release}",
            text.size(one.bytes),
            "verified" if one.verified_at else "not verified",
            "kept" if one.keep else "",
            " ".join(one.tags),
        )
        for one in found.sets
    ]
    say(text.table(("set", "release", "size", "state", "keep", "tags"), rows) if rows else "there is no backup")
    for path, why in found.damaged:
        say(f"damaged: {path.name}: {why}")
    for path in found.unfinished:
        say(f"unfinished, no backup: {path.name}")
    return 1 if found.damaged else 0


@command.command("verify")
@click.argument("key", metavar="SET", default="latest")
@click.option("--identity", type=click.Path(exists=True, dir_okay=False), help="A file with age private keys.")
@json_option
@pass_state
def verify(state: State, key: str, identity: str | None, as_json: bool) -> int:
    """Check every file of SET (id, tag or `latest`), restore it into a scratch place and compare."""
    from liftlock.app import backup
    from liftlock.report import text

    with progress(quiet=as_json) as observer:
        found = backup.check_set(state.workspace(), key, identities=_identities(identity), observer=observer)
    if as_json:
        emit(list(found))
    else:
        say(text.findings(found))
        say(text.tally(found))
    return status_of(found)


@command.command("restore")
@click.argument("key", metavar="SET")
@click.option("--no-artifacts", is_flag=True, help="Restore the databases only.")
@click.option("--identity", type=click.Path(exists=True, dir_okay=False), help="A file with age private keys.")
@yes_option
@json_option
@pass_state
def restore(state: State, key: str, no_artifacts: bool, identity: str | None, yes: bool, as_json: bool) -> int:
    """Put SET back over the deployment. The server must be stopped; what is there now is saved first."""
    from liftlock.app import backup

    confirm(f"Replace the databases by those of backup {key}?", yes=yes)
    with progress(quiet=as_json) as observer:
        done, saved = backup.bring_back(
            state.workspace(),
            key,
            artifacts=not no_artifacts,
            identities=_identities(identity),
            observer=observer,
        )
    if as_json:
        emit(
            {
                "rows": {role.value: rows for role, rows in done.rows.items()},
                "artifact_bytes": done.artifact_bytes,
                "not_restored": list(done.not_restored),
                "saved_before": saved.id if saved else None,
            }
        )
        return 0
    for role, rows in done.rows.items():
        say(f"{role.value}: {rows} rows, equal to what was saved")
    for part in done.not_restored:
        say(f"not restored: {part}")
    say(f"what was there before is in backup {saved.id}" if saved else "there was nothing before")
    return 0


@command.command("keep")
@click.argument("key", metavar="SET")
@click.option("--off", is_flag=True, help="Let pruning take it again.")
@json_option
@pass_state
def keep(state: State, key: str, off: bool, as_json: bool) -> int:
    """Protect SET from pruning."""
    from liftlock.app import backup

    marked = backup.mark(state.workspace(), key, keep=not off)
    if as_json:
        emit(marked)
    else:
        say(f"backup {marked.id} is {'kept' if marked.keep else 'no longer kept'}")
    return 0


@command.command("prune")
@click.option("--keep-last", type=int, help="Keep this many (default: liftlock.toml).")
@click.option("--keep-days", type=int, help="Keep those younger than this (default: liftlock.toml).")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@yes_option
@json_option
@pass_state
def prune(state: State, keep_last: int | None, keep_days: int | None, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Remove sets that no rule and no mark holds; the newest verified one always stays."""
    from liftlock.app import backup

    workspace = state.workspace()
    planned = backup.prune_preview(workspace, keep_last=keep_last, keep_days=keep_days)
    if dry_run or not planned.remove:
        if as_json:
            emit({"remove": list(planned.remove), "keep": planned.keep})
        else:
            say(f"would remove: {', '.join(planned.remove)}" if planned.remove else "nothing to remove")
        return 0
    confirm(f"Remove {len(planned.remove)} backups ({', '.join(planned.remove)})?", yes=yes)
    done = backup.prune_sets(workspace, keep_last=keep_last, keep_days=keep_days)
    if as_json:
        emit({"removed": list(done.removed), "leftovers": list(done.leftovers), "keep": done.keep})
    else:
        say(f"removed: {', '.join(done.removed)}")
    return 0


def _recipients(encrypt: bool, keys: tuple[str, ...]) -> Recipients | None:
    if not encrypt and not keys:
        return None
    from liftlock.backup.sealing import Recipients
    from liftlock.model.secret import Secret

    phrase = os.environ.get(_PASSPHRASE, "") if encrypt else ""
    if encrypt and not phrase:
        raise UsageError(f"--encrypt needs a passphrase in {_PASSPHRASE}")
    return Recipients(keys=keys, passphrase=Secret(phrase) if phrase else None)


def _identities(path: str | None) -> Identities | None:
    phrase = os.environ.get(_PASSPHRASE, "")
    if path is None and not phrase:
        return None
    from pathlib import Path

    from liftlock.backup.sealing import Identities
    from liftlock.model.secret import Secret

    lines = Path(path).read_text("utf-8").splitlines() if path else []
    keys = tuple(Secret(line.strip()) for line in lines if line.strip() and not line.startswith("#"))
    return Identities(keys=keys, passphrase=Secret(phrase) if phrase else None)
