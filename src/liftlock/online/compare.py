"""Whether rows are equal to the last bit: kinds too (1 is not 1.0), -0.0 is not 0.0, NaN is NaN."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from liftlock.stores.live import Key, Row

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Difference:
    """One row of a table of the sink that is not as expected; `columns` name what differs."""

    table: str
    key: Key
    what: Literal["missing", "unexpected", "different"]
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"{self.table} {self.key!r}"
        return f"{where}: {self.what}" + (f" in {', '.join(self.columns)}" if self.columns else "")


@dataclass(frozen=True)
class Layout:
    """How to compare the rows of one table: its columns, where its key stands, and columns that are let off.

    `clocks` are not looked at; `sums` may differ in the last digits.
    """

    columns: tuple[str, ...]
    key: tuple[int, ...]
    clocks: frozenset[int] = frozenset()
    sums: frozenset[int] = frozenset()

    @functools.cached_property
    def key_of(self) -> Callable[[Row], Key]:
        """Takes a row to its primary key."""
        if len(self.key) == 1:
            only = self.key[0]
            return lambda row: (row[only],)
        return itemgetter(*self.key)


def layout(
    columns: Sequence[str], key: Sequence[str], *, clocks: Iterable[str] = (), sums: Iterable[str] = ()
) -> Layout:  # fmt: skip
    """The layout of a table's rows."""
    place = {column: index for index, column in enumerate(columns)}
    return Layout(
        columns=tuple(columns),
        key=tuple(place[column] for column in key),
        clocks=frozenset(place[column] for column in clocks if column in place),
        sums=frozenset(place[column] for column in sums if column in place),
    )


def differences(table: str, how: Layout, expected: Iterable[Row], found: Iterable[Row]) -> list[Difference]:
    """Every row that is missing, unexpected or different, in no order. A key that occurs twice is unexpected."""
    rows, there = list(expected), list(found)
    wanted = dict(zip(map(how.key_of, rows), rows, strict=True))
    wrong = []
    seen: set[Key] = set()
    for key, row in zip(map(how.key_of, there), there, strict=True):
        wish = wanted.get(key)
        if wish is None or key in seen:
            wrong.append(Difference(table, key, "unexpected"))
            continue
        seen.add(key)
        if not equal(wish, row):
            columns = tuple(
                name for index, name in enumerate(how.columns) if _differs(how, index, wish[index], row[index])
            )
            if columns:
                wrong.append(Difference(table, key, "different", columns))
    wrong += [Difference(table, key, "missing") for key in wanted.keys() - seen]
    return wrong


def equal(one: Row, other: Row) -> bool:
    """Whether two rows are equal to the last bit."""
    # `==` of tuples takes most rows in one go; what it is blind to (kinds, the sign of zero) is looked at by itself.
    if one == other and list(map(type, one)) == list(map(type, other)):
        return 0.0 not in one or all(map(same, one, other))
    return len(one) == len(other) and all(map(same, one, other))


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal to the last bit."""
    if type(one) is not type(other):
        return False
    if type(one) is float:
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or (one == other and math.copysign(1, one) == math.copysign(1, other))
    return bool(one == other)


def _differs(how: Layout, index: int, one: Any, other: Any) -> bool:
    if index in how.clocks or same(one, other):
        return False
    return not (index in how.sums and _near(one, other))


def _near(one: Any, other: Any) -> bool:
    """Whether two sums are the same but for the order of adding (PostgreSQL's come as text)."""
    if one is None or other is None:
        return False
    try:
        return math.isclose(float(one), float(other), rel_tol=_TOLERANCE)
    except ValueError:
        return False
