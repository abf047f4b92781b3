"""What `resume`, `abort` and `rollback` share: run it, say how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from liftlock.cli.common import State, emit, progress, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from liftlock.app.upgrade import Summary


def finish(state: State, verb: Callable[..., Summary], *, as_json: bool) -> int:
    """Run a verb of `liftlock.app.upgrade` on the workspace and report its summary."""
    from liftlock.report import text

    with progress(quiet=as_json) as observer:
        done = verb(state.workspace(), observer=observer)
    if as_json:
        emit(done)
        return 0
    if done.results:
        say(text.run_summary(done.results))
    hold = f"; writes were held for {text.hold(done.write_hold_seconds)}" if done.write_hold_seconds else ""
    say(f"{done.kind.value} {done.run}: {done.outcome.value}{hold}")
    return 0
