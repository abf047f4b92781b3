"""`liftlock rehearse`: the whole upgrade on a copy, timed."""

from __future__ import annotations

import click

from liftlock.cli.common import State, emit, json_option, pass_state, progress, say, status_of


@click.command("rehearse")
@click.option("--to", help="The target release (default: the newest that installs).")
@json_option
@pass_state
def command(state: State, to: str | None, as_json: bool) -> int:
    """Copy the databases, migrate the copy with the real release, start both releases on it, verify, go back, drop it.

    The deployment itself is only read. The timings feed later plans.

    \b
    Examples:
      liftlock rehearse --to 3.17.2
    """
    from liftlock.app.rehearse import rehearse
    from liftlock.report import text

    with progress(quiet=as_json) as observer:
        done = rehearse(state.workspace(), to, observer=observer)
    if as_json:
        emit(done)
        return status_of(done.findings)
    say(text.table(("step", "took"), [(name, text.seconds(took)) for name, took in done.seconds.items()]))
    say()
    if warnings := text.findings(done.findings, verbose=False):
        say(warnings)
    say(f"{text.tally(done.findings)}; writes would have been held for {text.seconds(done.window_seconds)}, ")
    say(f"and the way back took {text.seconds(done.way_back_seconds)}")
    return status_of(done.findings)
