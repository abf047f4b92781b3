"""The rules between both sides of an online upgrade, from knowledge, both schemas and a worker of the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from liftlock.errors import Refused
from liftlock.knowledge.revisions import RevisionKind
from liftlock.knowledge.revisions import jump as revisions_of
from liftlock.model.deployment import Role
from liftlock.model.release import Jump
from liftlock.online.inverse import Reverse
from liftlock.online.parking import Parking
from liftlock.online.scratch import Scratch, scratch
from liftlock.online.translate import Translator
from liftlock.online.translation import Translation, translation
from liftlock.releases.tools import WarmWorker
from liftlock.stores.interface import Store
from liftlock.stores.live import Live, Shape
from liftlock.stores.opening import live


def pending(jump: Jump, role: Role) -> tuple[str, ...]:
    """The revisions this jump runs on a database of this role."""
    return jump.auth if role is Role.AUTH else jump.tracking


def unknown_revisions(jump: Jump, role: Role) -> tuple[str, ...]:
    """Why the migrations of this jump cannot be followed, as far as it can be told before there is a migrated copy."""
    if role is Role.AUTH:
        return ()  # small: translated whole; `translation` says so where it is not
    found = [step for step in revisions_of(role, pending(jump, role)) if step.kind is RevisionKind.GLOBAL]
    if not found:
        return ()
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return (f"revision {found[0].id} ({found[0].why}{more})",)


class Rulebook:
    """Makes the rules of both directions and keeps what they share; `close` removes scratch databases."""

    def __init__(
        self, jump: Jump, name: str, blue: Mapping[Role, Store], green: Mapping[Role, Store], parked: Path
    ) -> None:
        """`name` is the upgrade's, `parked` the directory for what the old release cannot hold."""
        self._jump, self._name, self._blue, self._green = jump, name, blue, green
        self.parking: Mapping[Role, Parking] = {role: Parking(parked / f"{role.value}.db") for role in blue}
        self._back: dict[Role, Reverse] = {}
        self._made: dict[Role, Translator] = {}
        self._scratch: dict[Role, Scratch] = {}

    def forward(self, role: Role, worker: Callable[[], WarmWorker]) -> Translator:
        """From blue to green. Raises Refused where the two schemas cannot be translated."""
        if role not in self._made:
            old, new = live(self._blue[role]), live(self._green[role])
            decided, shapes, targets = self._decided(role, old, new)
            if decided.needs_scratch:
                self._scratch[role] = scratch(self._blue[role], self._name, worker(), shapes, targets)
                self._scratch[role].prepare()
            self._made[role] = Translator(decided, shapes, targets, self._scratch.get(role))
        return self._made[role]

    def backward(self, role: Role, worker: Callable[[], WarmWorker]) -> Reverse:
        """From green to blue; what blue cannot hold is parked."""
        del worker  # nothing goes through migrations on the way back
        if role not in self._back:
            old, new = live(self._blue[role]), live(self._green[role])
            decided, shapes, targets = self._decided(role, old, new)
            self._back[role] = Reverse(decided, shapes, targets, self.parking[role])
        return self._back[role]

    def close(self) -> None:
        """Drop scratch databases, also those of a process that was killed."""
        for role, store in self._blue.items():
            made = self._scratch.get(role) or scratch(store, self._name, None, {}, {})
            made.close()
        self._scratch.clear()
        self._made.clear()
        self._back.clear()

    def _decided(
        self, role: Role, old: Live, new: Live
    ) -> tuple[Translation, Mapping[str, Shape], Mapping[str, Shape]]:  # fmt: skip
        shapes, targets = old.shapes(), new.shapes()
        rows = {table.name: table.rows for table in self._blue[role].facts().tables} if role is Role.AUTH else None
        decided = translation(role, pending(self._jump, role), shapes, targets, rows=rows)
        if decided.refusals:
            raise Refused(
                f"the {role.value} database cannot be upgraded online: {decided.refusals[0]}",
                hint="Upgrade with `--strategy standard`.",
            )
        return decided, shapes, targets
