"""Prove a set: every byte is the one written, and every database, restored into a scratch place, equals its source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from liftlock import clock
from liftlock.backup import catalog
from liftlock.backup.integrity import damages
from liftlock.backup.layout import MANIFEST
from liftlock.backup.sealing import Identities
from liftlock.effects import side_effect
from liftlock.errors import BackupError, LiftlockError
from liftlock.model.deployment import Role
from liftlock.model.finding import Finding, Outcome
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.progress import Observer, silent
from liftlock.model.snapshot import StoreSnapshot
from liftlock.stores.interface import Store

SCRATCH = "verify"
_SHOWN = 5


def verify(
    directory: Path,
    key: str,
    *,
    stores: Mapping[Role, Store],
    identities: Identities | None = None,
    observer: Observer = silent,
) -> tuple[Finding, ...]:
    """Check one set (id, tag or `latest`) and, if everything holds, record the time in its manifest.

    `stores` are databases beside whose content a scratch database may be made (the live ones, which are not
    touched). A database that cannot be restored for want of one, or of a key, is UNKNOWN and the set stays unverified.
    Raises BackupError when no set of that name exists; damage is a finding.
    """
    try:
        manifest = catalog.find(directory, key)
    except BackupError as error:
        if not (directory / key / MANIFEST).is_file():
            raise
        return (_finding("manifest", "manifest is as written", Outcome.FAIL, error.message, error.hint),)
    found = [_finding("manifest", "manifest is as written", Outcome.PASS)]
    wrong = damages(directory / manifest.id, manifest, observer=observer)
    found.append(
        _finding(
            "files",
            "every file is as written",
            Outcome.FAIL if wrong else Outcome.PASS,
            _some(wrong),
            "Use another set; `liftlock backup list` shows them." if wrong else "",
            count=len(wrong),
        )
    )
    if wrong:
        return tuple(found)
    proven: list[StoreSnapshot] = []
    try:
        with catalog.opened_set(directory, manifest, identities) as reader:
            for snapshot in manifest.stores:
                finding, fingerprint = _restored(snapshot, stores.get(snapshot.role), reader, observer)
                found.append(finding)
                proven.append(msgspec.structs.replace(snapshot, fingerprint=fingerprint))
    except BackupError as error:
        for snapshot in manifest.stores:
            code = f"restore-{snapshot.role}"
            found.append(_finding(code, _title(snapshot), Outcome.UNKNOWN, error.message, error.hint))
    if all(finding.outcome is Outcome.PASS for finding in found):
        catalog.set_verified(directory, msgspec.structs.replace(manifest, stores=tuple(proven)), clock.now())
    return tuple(found)


def _restored(
    snapshot: StoreSnapshot,
    store: Store | None,
    reader: catalog.PartReader,
    observer: Observer,
) -> tuple[Finding, Fingerprint | None]:
    """What restoring one database shows, and its fingerprint where that passed."""
    code = f"restore-{snapshot.role}"
    if store is None:
        return _finding(code, _title(snapshot), Outcome.UNKNOWN, "there is no place to restore it to"), None
    scratch = store.scratch(SCRATCH)
    try:
        scratch.drop()  # left by a verification that was killed
        try:
            with reader(snapshot) as place, side_effect(f"restore {snapshot.role} into scratch"):
                scratch.restore(snapshot, place, observer=observer)
            proven = scratch.prove(snapshot, observer=observer)
            revision = scratch.revision()
        finally:
            scratch.drop()
    except LiftlockError as error:
        return _finding(code, _title(snapshot), Outcome.FAIL, error.message, error.hint), None
    if revision != snapshot.revision:
        message = f"restored at revision {revision}, saved at {snapshot.revision}"
        return _finding(code, _title(snapshot), Outcome.FAIL, message), None
    return _finding(code, _title(snapshot), Outcome.PASS, rows=proven.rows), proven


def _title(snapshot: StoreSnapshot) -> str:
    return f"the {snapshot.role} database restores to what was saved"


def _some(lines: tuple[str, ...]) -> str:
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "; ".join(lines[:_SHOWN]) + more


def _finding(
    code: str,
    title: str,
    outcome: Outcome,
    message: str = "",
    hint: str = "",
    **detail: int,
) -> Finding:
    return Finding(code=f"backup-{code}", title=title, outcome=outcome, message=message, hint=hint, detail=dict(detail))
