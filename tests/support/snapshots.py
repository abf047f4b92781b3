"""What a snapshot holds, as a fingerprint."""

from __future__ import annotations

from pathlib import Path

from liftlock.model.fingerprint import Fingerprint
from liftlock.model.snapshot import StoreSnapshot
from liftlock.stores.interface import Store


def held(store: Store, snapshot: StoreSnapshot, directory: Path) -> Fingerprint:
    """The fingerprint of a snapshot in `directory`: its own, or that of a scratch database restored from it."""
    if snapshot.fingerprint is not None:
        return snapshot.fingerprint
    scratch = store.scratch("held")
    try:
        scratch.restore(snapshot, directory)
        return scratch.prove(snapshot)
    finally:
        scratch.drop()
