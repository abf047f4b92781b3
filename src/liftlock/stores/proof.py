"""What a restored database must show before anybody relies on the snapshot it came from."""

from __future__ import annotations

from liftlock.errors import StoreCorrupt
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.snapshot import StoreSnapshot

_SHOWN = 5


def require_equal(taken: Fingerprint, snapshot: StoreSnapshot) -> None:
    """Raise StoreCorrupt, naming tables, unless a snapshot without fingerprint or with this very one was given."""
    if snapshot.fingerprint is None or not (different := taken.differences(snapshot.fingerprint)):
        return
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    raise StoreCorrupt(
        f"these tables differ from what was saved: {', '.join(different[:_SHOWN])}{more}",
        hint="Nobody may write to the database meanwhile; else check the disk.",
    )
