"""Steering an online upgrade that runs in another terminal: pause it, let it go on, tell it to cut over now.

None of these takes the deployment's lock, which the running upgrade holds: they leave word in its control file.
"""

from __future__ import annotations

from liftlock.app.workspace import Workspace
from liftlock.errors import Refused
from liftlock.model.journal import RunState
from liftlock.online.control import Control, Said


def pause(workspace: Workspace) -> Said:
    """Ask the running upgrade to stop following until `resume`. Raises Refused when none can be paused."""
    return Control(workspace.run_directory(_running(workspace))).say(paused=True)


def cut_over(workspace: Workspace) -> Said:
    """Tell the running upgrade to cut over as soon as both sides are equal. Raises Refused when none waits."""
    return Control(workspace.run_directory(_running(workspace))).say(paused=False, cut_over=True)


def unpause(workspace: Workspace) -> bool:
    """Let a paused upgrade that still runs go on; False where there is none (then it is a matter of resuming)."""
    state = workspace.journal.open_run()
    if state is None or "online" not in state.payload or workspace.holder() is None:
        return False
    control = Control(workspace.run_directory(state))
    if not control.said().paused:
        return False
    control.say(paused=False)
    return True


def _running(workspace: Workspace) -> RunState:
    state = workspace.journal.open_run()
    if state is None or "online" not in state.payload:
        raise Refused("no online upgrade is open", hint="See `liftlock status`.")
    if "cut-over" in {step.name for step in state.steps if step.outcome}:
        raise Refused("the cut-over is done", hint="See `liftlock status`.")
    return state
