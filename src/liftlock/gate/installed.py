"""Where a gate stands and which server is behind it: the record `gate install` leaves in the gate's directory."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from liftlock.effects import side_effect
from liftlock.files import write_atomic
from liftlock.gate.model import Address
from liftlock.model.codec import Value, from_json, to_json

RECORD = "installed.json"


class Leaving(Value, frozen=True):
    """A server whose port the gate takes over and that is stopped afterwards: its slot, PID and start time (s)."""

    slot: str
    pid: int
    created: float


class Installed(Value, frozen=True):
    """Where clients connect (the gate) and where the live server listens behind it.

    `leaving` while a take-over of the port has not ended.
    """

    public: Address
    private: Address
    leaving: Leaving | None = None


def load(directory: Path) -> Installed | None:
    """The record in a gate's directory, or None."""
    try:
        return from_json((directory / RECORD).read_bytes(), Installed)
    except FileNotFoundError:
        return None


def save(directory: Path, record: Installed) -> None:
    """Write the record."""
    with side_effect("record gate"):
        write_atomic(directory / RECORD, to_json(record, indent=2) + "\n")


def moved(directory: Path, private: Address) -> None:
    """Write down that another server is the one behind the gate; nothing where no gate was installed."""
    known = load(directory)
    if known is not None and known.private != private:
        save(directory, replace(known, private=private))
