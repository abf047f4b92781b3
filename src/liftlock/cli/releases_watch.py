"""`liftlock releases watch`: the tracking file against the catalogue and the advisories."""

from __future__ import annotations

import os
from pathlib import Path

import click

from liftlock.cli.common import State, emit, json_option, pass_state, progress, say, status_of

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("watch")
@click.option("--file", type=_FILE, help="The tracking file (default: that of [tracking] in liftlock.toml).")
@click.option("--index", is_flag=True, help="Also ask the package index for releases newer than the catalogue.")
@click.option("--osv", multiple=True, type=_FILE, help="An OSV file with further advisories; repeatable.")
@click.option("--notify", is_flag=True, help="Tell the receivers of [notify] what is new, once.")
@click.option("--history", "past", is_flag=True, help="Show every state of the file that was seen, and stop.")
@json_option
@pass_state
def watch(
    state: State, file: Path | None, index: bool, osv: tuple[Path, ...], notify: bool, past: bool, as_json: bool
) -> int:
    """Check the tracking file, and tell when a release is there that fixes what it lists as open.

    Status 1: something in the file is not true, or something waited for is there. Made to be run from a schedule.

    \b
    Examples:
      liftlock releases watch
      liftlock releases watch --index --notify
      liftlock releases watch --file config/mlflow_release.yaml --json
    """
    from liftlock.app.releases_watch import Options, history
    from liftlock.app.releases_watch import watch as look
    from liftlock.describe.config import FILE
    from liftlock.errors import UsageError
    from liftlock.report import text

    # A repository in CI has a tracking file and no deployment.
    here = state.config is not None or "LIFTLOCK_CONFIG" in os.environ or Path(FILE).is_file()
    workspace = state.workspace() if here else None
    if workspace is None and (notify or past):
        raise UsageError(f"there is no {FILE} here, so nobody is known to tell and nothing is remembered")
    if past:
        assert workspace is not None
        seen = history(workspace)
        if as_json:
            emit(seen)
        else:
            headers = ("seen (UTC)", "by", "version", "status", "open", "verified")
            say(text.table(headers, [
                (f"{each.at:%Y-%m-%d %H:%M}", each.by, each.current_version, each.upgrade_status or "-",
                 ", ".join(each.safety_cves) or "-", each.last_verified or "-") for each in seen
            ]))  # fmt: skip
        return 0
    with progress(quiet=as_json) as observer:
        found = look(workspace, Options(file=file, index=index, osv=osv, notify=notify), observer=observer)
    if as_json:
        emit({"file": str(found.file), "findings": found.findings, "news": found.news, "told": found.told})
    else:
        say(text.findings((*found.findings, *found.news)))
        for each in found.told:
            say(f"{each.receiver}: {each.problem or 'told'}")
    return status_of((*found.findings, *found.news))
