"""Is there room?"""

from __future__ import annotations

from liftlock.assess.check import Check
from liftlock.assess.facts import Facts, known
from liftlock.model.finding import Finding

FACTOR = 2.5


class DiskRoom(Check):
    """Every file system that must take a backup or a copy has 2.5 times of what that needs.

    Needed are the databases and artifacts in the backup directory, and a copy of each SQLite file beside it (for
    rehearsal, restore and the rebuild of tables). The disk of a PostgreSQL server cannot be seen from here.
    """

    code = "LLC011"
    title = "Disk space"

    def answer(self, facts: Facts) -> Finding:
        """Fail with what is missing where."""
        places = known(facts.disk)
        short = [
            f"{place.path} has {_size(place.free)} free, wants {_size(place.needed * FACTOR)} ({', '.join(place.what)})"
            for place in places
            if place.free < place.needed * FACTOR
        ]
        if short:
            return self.failed("; ".join(short), "Free space, or point backup.directory to another disk.")
        tightest = min(places, key=lambda place: place.free - place.needed * FACTOR)
        return self.passed(
            f"{_size(tightest.free)} free in {tightest.path}, {_size(tightest.needed * FACTOR)} wanted",
            needed=int(tightest.needed),
            free=tightest.free,
        )


def _size(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
