"""What the old schema cannot hold, kept through a rollback: one SQLite file of ours, for its owner only.

An entry is the present state of one row of the newer schema (`row`), or of those of its columns that the older one
lacks (`columns`), together with why. Like everything here it is a state and not an operation: parking a row again
replaces its entry, and a row that the old schema can hold again has none. The next upgrade brings entries back
(`unpark`).
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from liftlock.effects import side_effect
from liftlock.errors import StoreError
from liftlock.model.codec import Value
from liftlock.stores.live import Key, Row, Shape, Target

_SCHEMA = """
CREATE TABLE IF NOT EXISTS parked (
  name TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, content TEXT NOT NULL, base TEXT, why TEXT NOT NULL,
  PRIMARY KEY (name, key));
CREATE INDEX IF NOT EXISTS parked_waiting ON parked (name) WHERE why LIKE 'it belongs to%'
"""
WAITING = "it belongs to"
"""How the reason of a row begins that is parked because another one is."""


class Entry(Value, frozen=True):
    """One parked row. `key` is its primary key, `content` column -> value, both of the newer schema.

    `kind` columns: the older schema holds the row without these columns; `base` is what both had in common when it was
    parked, column -> value.
    """

    table: str
    key: tuple[Any, ...]
    kind: Literal["row", "columns"]
    content: dict[str, Any]
    why: str
    base: dict[str, Any] | None = None

    def __str__(self) -> str:
        what = "" if self.kind == "row" else f" (columns {', '.join(sorted(self.content))})"
        return f"{self.table} {self.key!r}{what}: {self.why}"


class Unparked(Value, frozen=True):
    """What came of an attempt to bring entries back: how many are in the database now, and which cannot be, and why."""

    imported: int
    conflicts: tuple[tuple[Entry, str], ...] = ()


class Parking:
    """One file. Every change is committed at once. All methods raise StoreError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def replace(self, touched: Mapping[str, Iterable[Key]], entries: Iterable[Entry]) -> None:
        """Forget what is parked under these keys, by table, and park these entries."""
        with side_effect("park rows"), self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for table, keys in touched.items():
                connection.executemany(
                    "DELETE FROM parked WHERE name = ? AND key = ?", ((table, encode(key)) for key in keys)
                )
            connection.executemany(
                "INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (each.table, encode(each.key), each.kind, encode(each.content),
                     None if each.base is None else encode(each.base), each.why)
                    for each in entries
                ),
            )  # fmt: skip
            connection.execute("COMMIT")

    def forget(self, entries: Iterable[Entry]) -> None:
        """Remove these entries."""
        touched: dict[str, list[Key]] = {}
        for each in entries:
            touched.setdefault(each.table, []).append(each.key)
        self.replace(touched, ())

    def entries(self, table: str | None = None) -> list[Entry]:
        """Everything that is parked, or that of one table, by table and key."""
        return self._select("name = coalesce(?, name)", (table,))

    def _select(self, where: str, values: tuple[Any, ...]) -> list[Entry]:
        if not self.path.exists():
            return []
        with self._connected() as connection:
            found = connection.execute(
                f"SELECT name, key, kind, content, base, why FROM parked WHERE {where} ORDER BY name, key", values
            ).fetchall()
        return [
            Entry(
                table=name, key=tuple(decode(key)), kind=kind, content=decode(content), why=why,
                base=None if base is None else decode(base),
            )
            for name, key, kind, content, base, why in found
        ]  # fmt: skip

    def waiting(self) -> list[Entry]:
        """Rows that are parked because of the row they belong to."""
        return self._select("why LIKE 'it belongs to%'", ())

    def parked(self, table: str, keys: Iterable[Key]) -> set[Key]:
        """Which of these rows are parked whole."""
        keys = list(keys)
        if not keys or not self.path.exists():
            return set()
        with self._connected() as connection:
            return {
                key for key in keys
                if connection.execute(
                    "SELECT 1 FROM parked WHERE name = ? AND key = ? AND kind = 'row'", (table, encode(key))
                ).fetchone()
            }  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Entries by table."""
        if not self.path.exists():
            return {}
        with self._connected() as connection:
            return dict(connection.execute("SELECT name, count(*) FROM parked GROUP BY name ORDER BY name").fetchall())

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            # Made with narrow rights before SQLite writes to it, and SQLite gives its journal the same ones.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            with closing(sqlite3.connect(self.path, timeout=20, isolation_level=None)) as connection:
                connection.executescript(_SCHEMA)
                yield connection
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self.path}: {' '.join(str(error).split())}") from error


def unpark(parking: Parking, target: Target, shapes: Mapping[str, Shape]) -> tuple[Unparked, list[Entry]]:
    """Bring back what still fits into a database of the newer schema, in the open transaction of `target`.

    A row comes back where its key is free and all rows it refers to are there; columns, where the row is still as it
    was when they were parked. Returns what came of it and the entries that are in the database now: once the
    transaction is committed, `parking.forget` them. Repeatable: what is there already counts as brought back.
    """
    entries = parking.entries()
    order = {table: place for place, table in enumerate(parents_first(shapes))}
    done: list[Entry] = []
    conflicts: list[tuple[Entry, str]] = []
    for entry in sorted(entries, key=lambda each: (each.kind == "columns", order.get(each.table, 0))):
        reason = _bring_back(entry, target, shapes)
        if reason is None:
            done.append(entry)
        else:
            conflicts.append((entry, reason))
    return Unparked(imported=len(done), conflicts=tuple(conflicts)), done


def _bring_back(entry: Entry, target: Target, shapes: Mapping[str, Shape]) -> str | None:
    """Why not, or None."""
    shape = shapes.get(entry.table)
    if shape is None:
        return "the schema has no such table"
    if unknown := sorted(entry.content.keys() - set(shape.columns)):
        return f"the schema has no column {unknown[0]}"
    present = target.rows(entry.table, shape.key, [entry.key])
    if entry.kind == "columns":
        return _bring_columns(entry, shape, present, target)
    row = tuple(entry.content.get(column, shape.defaults.get(column)) for column in shape.columns)
    if present:
        return None if present[0] == row else "there is another row with this key"
    for columns, table, referred in shape.references:
        value = tuple(entry.content.get(column) for column in columns)
        if None not in value and table in shapes and not target.rows(table, referred, [value]):
            return f"the row of {table} that it belongs to is gone"
    refused = target.refused(entry.table, shape.columns, [row])
    return refused[0][1] if refused else None


def _bring_columns(entry: Entry, shape: Shape, present: Sequence[Row], target: Target) -> str | None:
    if not present:
        return "the row is gone"
    now = dict(zip(shape.columns, present[0], strict=True))
    if all(now[column] == value for column, value in entry.content.items()):
        return None
    if any(now.get(column) != value for column, value in (entry.base or {}).items()):
        return "the row was changed meanwhile"
    row = tuple({**now, **entry.content}[column] for column in shape.columns)
    target.delete(entry.table, shape.key, [entry.key])
    refused = target.refused(entry.table, shape.columns, [row])
    if refused:
        target.insert(entry.table, shape.columns, present)
        return refused[0][1]
    return None


def parents_first(shapes: Mapping[str, Shape]) -> list[str]:
    """Tables so that each stands behind those it refers to (as far as references do not go round)."""
    found: dict[str, None] = {}

    def visit(name: str, above: frozenset[str]) -> None:
        for _, table, _ in shapes[name].references:
            if table in shapes and table not in above and table not in found:
                visit(table, above | {table})
        found[name] = None

    for name in sorted(shapes):
        if name not in found:
            visit(name, frozenset({name}))
    return list(found)


def encode(value: Any) -> str:
    """Values as JSON: NaN, infinities, -0.0 and bytes among them."""
    return json.dumps(value, default=_bytes, sort_keys=True, ensure_ascii=True)


def decode(text: str) -> Any:
    """What `encode` wrote."""
    return json.loads(text, object_hook=lambda found: base64.b64decode(found["\0"]) if "\0" in found else found)


def _bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"\0": base64.b64encode(value).decode()}
    raise TypeError(f"cannot park a {type(value).__name__}")
