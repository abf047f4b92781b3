"""Where a gate stands and which server is behind it: the record `gate install` leaves in the gate's directory."""

from __future__ import annotations

from pathlib import Path

from liftlock.effects import side_effect
from liftlock.files import write_atomic
from liftlock.gate.model import Address
from liftlock.model.codec import Value, from_json, to_json

RECORD = "installed.json"


class Installed(Value, frozen=True):
    """Where clients connect (the gate) and where the live server listens behind it."""

    public: Address
    private: Address


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
        save(directory, Installed(public=known.public, private=private))
