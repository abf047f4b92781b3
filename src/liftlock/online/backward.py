"""One table of the newer schema and how its rows look in the older one: projected, or why they cannot be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from liftlock.online.compare import Layout, layout
from liftlock.online.parking import Entry
from liftlock.online.translation import Rule
from liftlock.stores.live import Key, Row, Shape

_WORKSPACE, _DEFAULT_WORKSPACE = "workspace", "default"


class Backward:
    """One table of green and how its rows look in blue.

    `rewritten` columns are changed by the migrations in rows that were there; what `otherwise` columns say, blue says
    in other rows.
    """

    def __init__(
        self, rule: Rule, blue: Shape | None, green: Shape, *, rewritten: Sequence[str], otherwise: Collection[str]
    ) -> None:
        self.table, self.source = green.name, blue.name if blue is not None else None
        self._blue, self._green = blue, green
        self._how: Layout = layout(green.columns, green.key)
        self._place = {column: index for index, column in enumerate(green.columns)}
        self._called = {old: new for new, old in rule.columns.items()}
        known = {*rule.columns, *otherwise, _WORKSPACE}
        self._extra = [column for column in green.columns if column not in known]
        # What the next upgrade changes by itself says nothing about whether a person changed the row meanwhile.
        self._base = [column for column in rule.columns if column not in rewritten]
        self._constants = rule.constants
        self._defaults = green.defaults
        self._workspace = self._place.get(_WORKSPACE) if _WORKSPACE not in rule.columns else None

    def key_of(self, row: Row) -> Key:
        """Green's primary key of a row of green."""
        return self._how.key_of(row)

    def key(self, key: Key) -> Key | None:
        """Blue's primary key for green's; None where blue has no such row."""
        assert self._blue is not None
        value = dict(zip(self._green.key, key, strict=True))
        if _WORKSPACE in value and self._workspace is not None and value[_WORKSPACE] != _DEFAULT_WORKSPACE:
            return None
        return tuple(value[self._called[column]] for column in self._blue.key)

    def green_key(self, key: Key) -> Key:
        """Green's primary key for blue's."""
        assert self._blue is not None
        value = dict(zip((self._called[column] for column in self._blue.key), key, strict=True))
        return tuple(value.get(column, self._constants.get(column)) for column in self._green.key)

    def foreign(self, row: Row) -> str | None:
        """Why blue cannot have this row at all, or None."""
        if self._workspace is not None and row[self._workspace] != _DEFAULT_WORKSPACE:
            return f"workspace {row[self._workspace]!r} is unknown to the old release"
        return None

    def row(self, row: Row) -> Row:
        """As blue has it; a column that only blue has gets its default."""
        assert self._blue is not None
        return tuple(
            row[self._place[self._called[column]]] if column in self._called else self._blue.defaults.get(column)
            for column in self._blue.columns
        )

    def green_row(self, entry: Entry) -> Row:
        """The row of green that was parked."""
        return tuple(entry.content.get(column) for column in self._green.columns)

    def entry(self, row: Row, why: str) -> Entry:
        """The whole row, parked."""
        content = dict(zip(self._green.columns, row, strict=True))
        return Entry(table=self.table, key=self.key_of(row), kind="row", content=content, why=why)

    def surplus(self, row: Row) -> Entry | None:
        """What blue has no column for, where it is not what the upgrade would put there again."""
        content = {
            column: row[self._place[column]] for column in self._extra
            if row[self._place[column]] != self._constants.get(column)
        }  # fmt: skip
        if not content:
            return None
        base = {column: row[self._place[column]] for column in self._base}
        why = "the old release has no such columns"
        return Entry(table=self.table, key=self.key_of(row), kind="columns", content=content, why=why, base=base)


def because(entry: Entry, why: str) -> Entry:
    """The row, parked for this reason."""
    return Entry(table=entry.table, key=entry.key, kind="row", content=entry.content, why=why)


def made(blue: Shape, row: Mapping[str, Any]) -> Entry:
    """For a row of blue that no row of green stands for: it was made from columns or grants."""
    return Entry(table=blue.name, key=tuple(row[column] for column in blue.key), kind="row", content=dict(row), why="")
