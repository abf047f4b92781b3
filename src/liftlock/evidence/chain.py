"""The journal inside a bundle: one JSON object a line, and its hash chain recomputed without the database.

An entry's digest is the SHA-256 of the JSON array [seq, run, kind, step, at, payload, previous], written with `, `
between items and ASCII escapes, where `payload` is the payload's own JSON text. The first `previous` is 64 zeros.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from liftlock.model.codec import Value, from_json, to_json
from liftlock.model.journal import Entry
from liftlock.model.secret import redact

GENESIS = "0" * 64


class Line(Value, frozen=True):
    """One entry. `payload` is None where it holds a value that has become a secret since: its digest still stands."""

    seq: int
    run: str
    kind: str
    step: str
    at: str
    payload: str | None
    previous: str
    digest: str


@dataclass(frozen=True)
class Chain:
    """What a journal file says: entries, the last digest, entries without content, and what is wrong (or nothing)."""

    entries: int
    head: str
    withheld: tuple[int, ...]
    problem: str = ""


def dump(entries: Iterable[Entry]) -> str:
    """The text of `journal.jsonl`."""
    lines = []
    for entry in entries:
        payload = json.dumps(entry.payload, sort_keys=True, default=str)
        line = Line(
            seq=entry.seq, run=entry.run, kind=entry.kind.value, step=entry.step, at=entry.at.isoformat(),
            payload=payload if redact(payload) == payload else None, previous=entry.previous, digest=entry.digest,
        )  # fmt: skip
        lines.append(to_json(line))
    return "".join(f"{line}\n" for line in lines)


def read(text: bytes) -> Chain:
    """Recompute the chain from the first entry to the last. Never raises: what does not hold is the problem."""
    previous, expected = GENESIS, 1
    withheld: list[int] = []
    for raw in text.splitlines():
        try:
            line = from_json(raw, Line)
        except (ValueError, msgspec.DecodeError) as error:
            return Chain(expected - 1, previous, tuple(withheld), f"line {expected} is not an entry: {error}")
        if line.seq != expected or line.previous != previous:
            return Chain(expected - 1, previous, tuple(withheld), f"entry {expected} is missing or out of place")
        if line.payload is None:
            withheld.append(line.seq)
        elif line.digest != _digest(line, line.payload):
            return Chain(expected - 1, previous, tuple(withheld), f"entry {expected} was changed")
        previous, expected = line.digest, expected + 1
    return Chain(expected - 1, previous, tuple(withheld))


def _digest(line: Line, payload: str) -> str:
    text = json.dumps([line.seq, line.run, line.kind, line.step, line.at, payload, line.previous])
    return hashlib.sha256(text.encode()).hexdigest()
