"""Compare every row and column of both sides while people write.

A stretch of the source is read in one view together with what its log says has changed; whatever is not in the log was
brought over before, so the sink must hold exactly its translation, and whatever is in the log is compared when it is
brought over (`Flow.finish`). No long reader, no moment of silence is needed, and nothing is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from liftlock import clock
from liftlock.errors import StoreError
from liftlock.model.codec import Value
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.uri import Engine
from liftlock.online.aligned import EVERYTHING
from liftlock.online.control import Control, Stand
from liftlock.online.converge import Pace, converge, wait_while_paused
from liftlock.online.flow import Flow, Rules
from liftlock.online.patience import PASSING, Patience
from liftlock.stores.live import View

# A reader of a rollback-journal SQLite database keeps its writers waiting, so a view there is short.
_VIEW_SECONDS = {Engine.SQLITE: 0.03, Engine.POSTGRESQL: 0.5}
_FIRST, _LARGEST = 500, 20_000
_LISTED = 20
_TRIES = 50
# Rows of the sink at a time: nobody waits for a view of it, and they are kept in memory whole.
_UNROOTED = 5000
# Log entries after which what changed meanwhile is brought over: each view reads them all.
_BACKLOG = 1000


class Comparable(Rules, Protocol):
    """Rules that can also be verified, stretch by stretch."""

    def parts(self) -> tuple[str, ...]:
        """What has to be verified, one after the other."""
        ...

    def part(self, view: View, name: str, after: Any, limit: int) -> Any:
        """The next stretch of a part: `delta`, and `last`, where the next one begins (None: at the end)."""
        ...

    def least(self, name: str) -> int:
        """Rows (roots, where many hang on one) that one comparison of a part should have: it has a price of its own."""
        ...

    def joined(self, stretches: Sequence[Any]) -> Any:
        """Stretches of a part that follow each other, read one after the other with the sink untouched, as one."""
        ...

    def current(self, view: View, delta: Any) -> Any:
        """What the sink holds in the place of a stretch."""
        ...

    def compare(self, replacement: Any, current: Any, delta: Any) -> list[Any]:
        """Every row that is not as expected."""
        ...

    def families(self) -> tuple[str, ...]:
        """Families whose members may hang on no root."""
        ...

    def unrooted(self, view: View, family: str, after: Any, limit: int) -> tuple[list[str], Any]:
        """Rows of the sink that hang on no root, and where to go on (None: done)."""
        ...


class Verified(Value, frozen=True):
    """Rows of the sink that were compared, and the first differences, one line each; `wrong` counts all."""

    role: str
    rows: int
    seconds: float
    wrong: int
    differences: tuple[str, ...]


def verify(
    flow: Flow, rules: Comparable, pace: Pace, control: Control, *, observer: Observer = silent
) -> Verified:  # fmt: skip
    """Walk all parts. Raises StoreError where a part is never quiet for as long as one view."""
    began = clock.monotonic()
    walk = _Walk(flow, rules, pace, control, observer)
    for name in rules.parts():
        walk.part(name)
    for name in rules.families():
        walk.unrooted(name)
    return Verified(
        role=flow.role.value,
        rows=walk.rows,
        seconds=round(clock.monotonic() - began, 3),
        wrong=len(walk.wrong),
        differences=tuple(walk.wrong[:_LISTED]),
    )


class _Walk:
    def __init__(self, flow: Flow, rules: Comparable, pace: Pace, control: Control, observer: Observer) -> None:
        self.rows = 0
        self.wrong: list[str] = []
        self._flow, self._rules, self._pace, self._control, self._observer = flow, rules, pace, control, observer
        self._patience = Patience(observer)
        self._limit = _FIRST
        self._allowed = _VIEW_SECONDS.get(flow.source.store.uri.engine, 0.03)

    def part(self, name: str) -> None:
        """All stretches of one part."""
        after, tries = None, 0
        while True:
            try:
                stretch = self._compared(name, after)
            except PASSING as error:
                self._patience.bear(error)
                continue
            self._patience.well()
            if stretch is None:
                tries += 1
                if tries > _TRIES:
                    raise StoreError(
                        f"{name} never stood still for one view", hint="Try again when it is quieter.", retryable=True
                    )
            elif stretch.last is None:
                return
            else:
                after = stretch.last

    def _compared(self, name: str, after: Any) -> Any:
        """The stretch that was compared; None where its tables changed meanwhile (what changed was brought over)."""
        self._between(name)
        began = clock.monotonic()
        stretches = self._gathered(name, after)
        if not stretches:
            self._flow.epoch(None)
            return None
        stretch, expected = self._expected(stretches)
        with self._flow.sink.look() as view:
            current = self._rules.current(view, stretch.delta)
        self.wrong += map(str, self._rules.compare(expected, current, stretch.delta))
        self.rows += sum(len(each) for each in current.values())
        self._pace.rest(clock.monotonic() - began)
        return stretch

    def _expected(self, stretches: Sequence[Any]) -> tuple[Any, Any]:
        """As many of them as can be compared at once, as one, and what the sink should hold for them."""
        if len(stretches) > 1:
            joined = self._rules.joined(stretches)
            try:
                return joined, self._rules.expected(joined.delta)
            except PASSING:
                pass  # what was read at several moments may contradict itself: two names that changed places
        return stretches[0], self._rules.expected(stretches[0].delta)

    def _gathered(self, name: str, after: Any) -> list[Any]:
        """As much as is worth a comparison, in views as short as they must be; nothing where tables changed whole."""
        found: list[Any] = []
        rows = 0
        while rows < self._rules.least(name):
            began = clock.monotonic()
            with self._flow.source.look() as view:
                stretch, busy = self._stretch(view, name, after)
            if busy:
                break
            found.append(stretch)
            rows += self._limit
            spent = clock.monotonic() - began
            self._learn(spent)
            after = stretch.last
            if after is None:
                break
            if rows < self._rules.least(name):
                clock.sleep(spent)  # those who wait for a view to end come first
        return found

    def _stretch(self, view: View, name: str, after: Any) -> tuple[Any, bool]:
        """The next stretch, and whether its tables may have changed whole, so that it says nothing."""
        if name in view.whole or (name == EVERYTHING and (view.changed or view.whole)):
            return None, True
        try:
            return self._rules.part(view, name, after, self._limit), False
        except StoreError as error:
            if not error.retryable:
                raise
            return None, True

    def unrooted(self, family: str) -> None:
        """Rows that no stretch can see. Nobody else works on the sink, so nobody waits for a view of it."""
        after: Any = None
        while True:
            try:
                self._tell(family)
                began = clock.monotonic()
                with self._flow.sink.look() as view:
                    lines, after = self._rules.unrooted(view, family, after, _UNROOTED)
            except PASSING as error:
                self._patience.bear(error)
                continue
            self._patience.well()
            self._pace.rest(clock.monotonic() - began)
            self.wrong += lines
            if after is None:
                return

    def _between(self, name: str) -> None:
        self._tell(name)
        if self._flow.source.backlog() > _BACKLOG:
            converge([self._flow], self._pace, self._control, phase="verify", few=_BACKLOG)

    def _tell(self, name: str) -> None:
        wait_while_paused(self._control, "verify")
        self._observer(Progress(work=f"compare {self._flow.role.value}: {name}", done=self.rows, unit="rows"))
        self._control.tell(Stand(phase="verify", at=clock.now(), done=self.rows, unit="rows"))

    def _learn(self, spent: float) -> None:
        factor = min(2.0, max(0.25, self._allowed / 2 / max(spent, 1e-6)))
        self._limit = min(_LARGEST, max(20, int(self._limit * factor)))
