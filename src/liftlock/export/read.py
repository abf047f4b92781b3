"""Read parents and their children in batches: a few queries for hundreds of parents, none for a single one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from liftlock.export.kinds import Child, Form, Kind
from liftlock.export.lines import plain
from liftlock.stores.interface import Store

WORKSPACE = "workspace"
Row = Mapping[str, Any]
Key = tuple[Any, ...]


class Reader:
    """One database, its tables as they are, and how many rows of each were exported."""

    def __init__(self, store: Store) -> None:
        self.store = store
        # Stores also hash where counters stand: "(sequences)" and sqlite_sequence are no tables of MLflow's.
        self.tables = {
            name: columns for name, columns in store.columns().items() if not name.startswith(("(", "sqlite_"))
        }
        self.exported: dict[str, int] = defaultdict(int)

    def has(self, table: str) -> bool:
        """Whether this release has the table."""
        return table in self.tables

    def count(self, table: str) -> int:
        """Rows of a table."""
        (row,) = self.store.rows(f"SELECT count(*) AS n FROM {_quoted(table)}")
        return int(row["n"])

    def rows(self, table: str, *, without: Sequence[str] = (), order: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """All rows of a table as JSON values, in order of these columns, or of all columns in name order."""
        columns = [name for name in self.tables[table] if name not in without]
        text = f"SELECT {_list(columns)} FROM {_quoted(table)} ORDER BY {_list(order or columns)}"
        for row in self.store.rows(text):
            self.exported[table] += 1
            yield {name: plain(row[name]) for name in columns}

    def lines(self, kind: Kind, spill: Callable[[Child, dict[str, Any]], None]) -> Iterator[dict[str, Any]]:
        """The lines of one kind, in order of its key; spilled children go to `spill` just before their parent."""
        columns = self.tables[kind.table]
        key = self._key(kind)
        text = f"SELECT {_list(columns)} FROM {_quoted(kind.table)} ORDER BY {_list(key)}"
        rows = self.store.rows(text)
        booleans = _booleans(columns)
        while batch := list(islice(rows, kind.batch)):
            self.exported[kind.table] += len(batch)
            keys = {tuple(row[name] for name in key) for row in batch}
            # The database compares, so that its collation decides what lies between, not Python's.
            first, last = batch[0][kind.key[0]], batch[-1][kind.key[0]]
            inside = [
                (child, self._children(child, len(key) > len(kind.key), keys, first, last))
                for child in kind.children
                if self.has(child.table)
            ]
            for child in kind.spill:
                if self.has(child.table):
                    self._spill(child, keys, first, last, spill)
            for row in batch:
                line = {kind.rename.get(name, name): _value(row[name], name in booleans) for name in columns}
                identity = tuple(row[name] for name in key)
                for child, found in inside:
                    line[child.name] = found.get(identity, [] if child.form is Form.LIST else {})
                yield line

    def _key(self, kind: Kind) -> tuple[str, ...]:
        return (*kind.key, WORKSPACE) if WORKSPACE in self.tables[kind.table] else kind.key

    def _children(self, child: Child, workspace: bool, keys: set[Key], first: Any, last: Any) -> dict[Key, Any]:
        """Parent's key -> its children in their form."""
        link = (*child.link, WORKSPACE) if workspace and WORKSPACE in self.tables[child.table] else child.link
        rest = [name for name in self.tables[child.table] if name not in (*link, child.nan)]
        booleans = _booleans(rest)
        found: dict[Key, Any] = {}
        for row in self._between(child, first, last):
            identity = tuple(row[name] for name in link)
            if workspace and len(link) == len(child.link):
                # The parent's table has workspaces and the child's has none: its rows belong to the only one.
                identity = next((one for one in keys if one[:-1] == identity), identity)
            if identity not in keys:
                continue
            self.exported[child.table] += 1
            if child.form is Form.MAP:
                found.setdefault(identity, {})[row[child.key]] = plain(row[child.value])
                continue
            record = {name: _value(row[name], name in booleans) for name in rest}
            if child.nan and row[child.nan]:
                record["value"] = "NaN"
            if child.form is Form.LIST:
                found.setdefault(identity, []).append(record)
            else:
                found.setdefault(identity, {})[record.pop(child.key)] = record
        return found

    def _spill(
        self, child: Child, keys: set[Key], first: Any, last: Any, spill: Callable[[Child, dict[str, Any]], None]
    ) -> None:
        """Rows as they are, renamed by the database: there may be millions, so only their value is looked at."""
        link = child.rename.get(child.link[0], child.link[0])
        parents = {key[0] for key in keys}
        exported = 0
        for row in self._between(child, first, last):
            if row[link] not in parents:
                continue
            line = dict(row)
            if child.nan and line.pop(child.nan):
                line[child.value] = "NaN"
            else:
                line[child.value] = plain(line[child.value])
            spill(child, line)
            exported += 1
        self.exported[child.table] += exported

    def _between(self, child: Child, first: Any, last: Any) -> Iterator[Row]:
        columns = self.tables[child.table]
        link = _quoted(child.link[0])
        order = _list([*child.link, *(name for name in (*child.order, child.key) if name in columns)])
        span = f"{link} BETWEEN :first AND :last"
        shown = ", ".join(f"{_quoted(name)} AS {_quoted(child.rename.get(name, name))}" for name in columns)
        text = f"SELECT {shown} FROM {_quoted(child.table)} WHERE {span} ORDER BY {order}"
        return self.store.rows(text, {"first": first, "last": last})


def _value(value: Any, boolean: bool) -> Any:
    return bool(value) if boolean and value is not None else plain(value)


def _booleans(columns: Sequence[str]) -> frozenset[str]:
    """Columns that are BOOLEAN in MLflow's models: SQLite hands them out as 0 and 1."""
    return frozenset(columns) & {"is_nan", "valid", "is_numeric_value", "is_admin"}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(_quoted, names))
