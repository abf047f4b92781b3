"""One projected table: rows and keys of blue as green has them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from operator import itemgetter
from typing import Any

from liftlock.online.translation import Rule
from liftlock.stores.live import Key, Row, Shape


class Projection:
    """One projected table: rows and keys of blue as green has them.

    `place` are the columns of green that name a row of blue: green's whole primary key where blue's key and constants
    make it up (`exact`). `ordered`: green's keys then stand in the order of blue's.
    """

    def __init__(self, rule: Rule, blue: Shape, green: Shape) -> None:
        self.table = green.name
        called = {old: new for new, old in rule.columns.items()}
        key = tuple(called[column] for column in blue.key)
        self.exact = set(green.key) <= set(key) | rule.constants.keys() and set(key) <= set(green.key)
        self.place = green.key if self.exact else key
        fixed = [column for column in green.key if column in rule.constants]
        self.ordered = self.exact and (*fixed, *key) == green.key
        self._rows = _picker([rule.columns.get(column) for column in green.columns], blue.columns,
                             [rule.constants.get(column) for column in green.columns])  # fmt: skip
        self._places = _picker([rule.columns[column] if column in key else None for column in self.place], blue.key,
                               [rule.constants.get(column) for column in self.place])  # fmt: skip

    def rows(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Rows of blue as rows of green."""
        return rows if self._rows is None else list(map(self._rows, rows))

    def placed(self, key: Key) -> Key:
        """A key of blue as values of `place`."""
        return key if self._places is None else self._places(key)

    def places(self, keys: Collection[Key]) -> Collection[Key]:
        """Keys of blue as values of `place`."""
        return keys if self._places is None else list(map(self._places, keys))


def _picker(
    sources: Sequence[str | None], columns: Sequence[str], constants: Sequence[Any]
) -> Callable[[Row], Row] | None:  # fmt: skip
    """A function that makes a row of `sources` (names in `columns`; None: the constant); None where it is the same."""
    if list(sources) == list(columns):
        return None
    fixed = tuple(constants)
    places = [len(columns) + index if source is None else columns.index(source) for index, source in enumerate(sources)]
    if len(places) == 1:
        only = places[0]
        return lambda row: ((*row, *fixed)[only],)
    pick = itemgetter(*places)
    return lambda row: pick(row + fixed)
