"""The stages of a demo: run one after the other, timed, each a line of the closing table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from liftlock import clock
from liftlock.model.codec import Value
from liftlock.model.finding import Finding, Outcome
from liftlock.model.progress import Observer, Progress

T = TypeVar("T")


class Line(Value, frozen=True):
    """One line of the closing table. `ok` is False when a comparison did not hold."""

    stage: str
    seconds: float
    result: str
    ok: bool


class Stages:
    """Runs stages one after the other, times them and keeps their lines."""

    def __init__(self, observer: Observer, tell: Callable[[Line], None]) -> None:
        self.lines: list[Line] = []
        self._observer = observer
        self._tell = tell

    def run(self, stage: str, work: Callable[[], T], result: Callable[[T], str] = lambda _: "done") -> T:
        """Do one stage; its error is the demo's."""
        self._observer(Progress(work=stage))
        started = clock.monotonic()
        done = work()
        self._add(stage, clock.monotonic() - started, result(done), ok=True)
        return done

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Time a block as one stage."""
        self._observer(Progress(work=stage))
        started = clock.monotonic()
        yield
        self._add(stage, clock.monotonic() - started, "done", ok=True)

    def findings(self, stage: str, work: Callable[[], tuple[Finding, ...]]) -> None:
        """A stage that answers with findings."""
        self._observer(Progress(work=stage))
        started = clock.monotonic()
        self.check(stage, work(), seconds=clock.monotonic() - started)

    def check(self, stage: str, found: tuple[Finding, ...], seconds: float = 0.0) -> None:
        """Findings as a line: anything that needs attention fails the demo."""
        wrong = [each for each in found if each.needs_attention]
        passed = sum(1 for each in found if each.outcome is Outcome.PASS)
        text = f"{passed} comparisons hold" if not wrong else f"{wrong[0].title}: {wrong[0].message}"
        self._add(stage, seconds, text, ok=not wrong and bool(found))

    def note(self, stage: str, text: str, *, ok: bool) -> None:
        """A line without work of its own."""
        self._add(stage, 0.0, text, ok=ok)

    def _add(self, stage: str, seconds: float, result: str, *, ok: bool) -> None:
        line = Line(stage=stage, seconds=round(seconds, 2), result=result, ok=ok)
        self.lines.append(line)
        self._tell(line)
