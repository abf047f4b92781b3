"""What the commands share: the options, the state handed down, progress, errors and JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from liftlock.errors import LiftlockError
from liftlock.model.secret import redact, redact_values

if TYPE_CHECKING:
    from liftlock.app.workspace import Workspace
    from liftlock.model.finding import Finding
    from liftlock.model.progress import Observer, Progress

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class State:
    """The options given before the command."""

    config: str | None
    debug: bool

    def workspace(self) -> Workspace:
        """The deployment the command is about. Raises UsageError when there is no liftlock.toml."""
        from liftlock.app.workspace import Workspace

        return Workspace.open(Path(self.config) if self.config else None)


pass_state = click.make_pass_decorator(State)


def json_option(command: F) -> F:
    """The option every reporting command has."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def yes_option(command: F) -> F:
    """The option that answers the question before an effect."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


def say(text: str = "") -> None:
    """Print one text, redacted."""
    click.echo(redact(text))


def emit(value: Any) -> None:
    """Print a value as JSON, redacted, with sorted keys."""
    from liftlock.model.codec import to_builtins

    click.echo(json.dumps(redact_values(to_builtins(value)), indent=2, sort_keys=True, default=str))


def fail(error: LiftlockError, *, as_json: bool) -> int:
    """Show an error as one line and a hint (or as JSON on standard output); its exit status."""
    if as_json:
        emit({"error": error.message, "hint": error.hint, "exit_status": error.exit_status})
    click.echo(redact(f"error: {error.message}"), err=True)
    if error.hint:
        click.echo(redact(f"hint: {error.hint}"), err=True)
    return error.exit_status


def status_of(found: Iterable[Finding]) -> int:
    """0 when nothing needs attention, else 1."""
    return 1 if any(each.needs_attention for each in found) else 0


def confirm(question: str, *, yes: bool) -> None:
    """Ask before an effect. Raises Refused when the answer is no or nobody can answer."""
    from liftlock.errors import Refused

    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused("nobody is there to confirm", hint="Give --yes to go on without a question.")
    if not click.confirm(question, err=True):
        raise Refused("not confirmed; nothing was changed")


@contextlib.contextmanager
def progress(*, quiet: bool = False) -> Iterator[Observer]:
    """An observer that shows progress on standard error: a live line on a terminal, plain lines in a pipe."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _live() as observer:
            yield observer
    else:
        yield _Plain().show


class _Plain:
    """One line when a piece of work begins, and one every ten seconds while it goes on."""

    def __init__(self) -> None:
        self._work = ""
        self._next = 0.0
        self._start = time.monotonic()

    def show(self, event: Progress) -> None:
        now = time.monotonic()
        if event.total is not None and event.done >= event.total:
            return  # what begins next says that this has ended
        if event.work == self._work and now < self._next:
            return
        self._work, self._next = event.work, now + 10
        share = f" {event.done / event.total:.0%}" if event.total and event.done < event.total else ""
        click.echo(redact(f"[{now - self._start:7.1f} s] {event.work}{share}"), err=True)


@contextlib.contextmanager
def _live() -> Iterator[Observer]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(), console=Console(stderr=True)
    )
    tasks: dict[str, TaskID] = {}

    def show(event: Progress) -> None:
        task = tasks.get(event.work)
        if task is None:
            for done in tasks.values():
                bars.update(done, total=1, completed=1)
            task = tasks[event.work] = bars.add_task(redact(event.work), total=None)
        bars.update(task, total=event.total, completed=event.done)

    with bars:
        yield show
