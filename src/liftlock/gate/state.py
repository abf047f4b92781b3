"""The gate's state file: one small JSON file, replaced atomically and flushed, readable by its owner alone."""

from __future__ import annotations

from pathlib import Path

import msgspec

from liftlock.effects import side_effect
from liftlock.files import write_atomic
from liftlock.gate.model import GateError, State
from liftlock.model.codec import from_json, to_json


def load(path: Path) -> State | None:
    """The state as last written, or None when there is none. Raises GateError when it is damaged or unreadable.

    A damaged file is never replaced by a guess: the wrong upstream would take writes that nobody finds again.
    """
    try:
        return from_json(path.read_bytes(), State)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise GateError(
            f"the gate's state in {path} cannot be read: {error}",
            code="state",
            hint="It says which server is live. Restore it, or remove it and start the gate on the live server.",
        ) from error


def store(path: Path, state: State) -> None:
    """Make the state durable. Raises OSError; then `load` says which of the two states stands."""
    with side_effect(f"gate state {state.phase}"):
        write_atomic(path, to_json(state, indent=2) + "\n")
