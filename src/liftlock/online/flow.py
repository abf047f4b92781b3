"""One direction between two databases: what changed in the source is translated and applied to the sink, in epochs.

An epoch is: one view of the source's log and of the rows it speaks of (I2); what the sink should hold for them; one
transaction in the sink; and only then the consumption of exactly those log entries (I3, I4). A kill anywhere repeats
the epoch, which does no harm, because current states are applied and not operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from liftlock import clock
from liftlock.errors import StoreError
from liftlock.model.deployment import Role
from liftlock.stores.live import Live, Moved, Straight, Target, View


class Rules(Protocol):
    """How rows of the source's schema look in the sink's: `Translator` forward, `Reverse` on the way back."""

    def prepare(self) -> None:
        """Do ahead what can be done ahead of a hold. Idempotent."""
        ...

    def straight(self) -> Sequence[Straight]:
        """The tables whose rows can go over as they are, in the engine's own hands, when there are many."""
        ...

    def read(self, view: View, *, everything: bool = False) -> Any:
        """Everything that the changed keys of a view need, read in that view; with `everything` whatever changed."""
        ...

    def expected(self, delta: Any) -> Any:
        """What the sink should hold for a delta; may take a scratch database through migrations."""
        ...

    def apply(self, replacement: Any, target: Target) -> None:
        """Replace the rows."""
        ...

    def differences(self, replacement: Any, target: Target) -> list[str]:
        """What the sink holds otherwise than the replacement says, one line each; empty when nothing."""
        ...


class Mismatch(StoreError):
    """What was applied is not what is there: a bug or a damaged database; nothing may be cut over."""


@dataclass(frozen=True)
class Epoch:
    """Log entries (distinct keys) brought over, and seconds: of the view on the source, and of everything."""

    keys: int
    viewed: float
    seconds: float


@dataclass(frozen=True)
class Prepared:
    """The last delta of a source, read inside its fence."""

    delta: Any
    token: Any
    keys: int


@dataclass(frozen=True)
class Flow:
    """`source` is written by people, `sink` by nobody but us."""

    role: Role
    source: Live
    sink: Live
    rules: Rules

    def epoch(self, limit: int | None) -> Epoch:
        """Bring over at most `limit` log entries. Raises StoreError; what was not consumed comes again."""
        try:
            return self._epoch(limit)
        except StoreError:
            if limit is None:
                raise
            # Two rows that swapped a unique value collide when only one of them is among so many entries.
            return self._epoch(None)

    def sweep(self, *, view: float, seconds: float = 2.0) -> Epoch:
        """Bring over what lies before us in tables that need no look of ours: portions, each like an epoch, for about
        `seconds`. Nothing is brought over (no error) where a row is refused: `epoch` sees to it. Raises StoreError.
        """
        began = clock.monotonic()
        tables = self.rules.straight()
        try:
            moved = self.source.transfer(self.sink, tables, view=view, seconds=seconds) if tables else Moved()
        except StoreError as error:
            if error.retryable:
                raise
            moved = Moved()
        self._require(moved.wrong)
        return Epoch(moved.keys, moved.viewed, clock.monotonic() - began)

    def refresh(self) -> None:
        """Bring over everything once, where a database is translated whole."""
        with self.source.changes(None) as view:
            prepared = self.prepare(view, everything=True)
        self.finish(prepared)
        self.source.consume(prepared.token)

    def _epoch(self, limit: int | None) -> Epoch:
        began = clock.monotonic()
        with self.source.changes(limit) as view:
            prepared = self.prepare(view)
        viewed = clock.monotonic() - began
        if prepared.keys:
            self.finish(prepared)
            self.source.consume(prepared.token)
        return Epoch(prepared.keys, viewed, clock.monotonic() - began)

    def prepare(self, view: View, *, everything: bool = False) -> Prepared:
        """Read what a view says has changed."""
        keys = sum(len(each) for each in view.changed.values()) + len(view.whole) + everything
        return Prepared(self.rules.read(view, everything=everything), view.token, keys)

    def finish(self, prepared: Prepared) -> None:
        """Apply a delta and read it back, in one go. Raises Mismatch or StoreError: then nothing was applied."""
        if not prepared.keys:
            return
        replacement = self.rules.expected(prepared.delta)
        with self.sink.applying() as target:
            self.rules.apply(replacement, target)
            self._require(self.rules.differences(replacement, target))
        if replacement.sequences:  # ids that the migrations gave out in a scratch database
            self.sink.advance(replacement.sequences)

    def _require(self, wrong: Sequence[str]) -> None:
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise Mismatch(
                f"the {self.role.value} database does not hold what was written to it: {wrong[0]}{more}",
                hint="Nothing was cut over. Please report this with the run's journal.",
            )
