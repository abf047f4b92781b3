"""Rows are equal to the last bit or they are not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from liftlock.online.compare import differences, equal, layout

HOW = layout(("id", "value", "at", "total"), ("id",), clocks=("at", "none"), sums=("total",))


@pytest.mark.parametrize(("one", "other"), [
    (1, 1.0), (0.0, -0.0), (True, 1), ("1", 1), (None, ""), (None, 0), (b"a", "a"), (math.nan, None), (1e300, math.inf),
])  # fmt: skip
def test_what_is_not_the_same_differs(one: Any, other: Any) -> None:
    assert not equal((one,), (other,))
    assert not equal((other,), (one,))
    assert equal((one, other), (one, other))


def test_nan_is_nan_and_rows_of_other_length_differ() -> None:
    assert equal((math.nan,), (float("nan"),))
    assert not equal((1,), (1, 2))


def test_each_kind_of_difference_is_named() -> None:
    found = differences(
        "t", HOW, [("a", 1, 1, None), ("b", 1, 1, None), ("c", 1, 1, None)],
        [("a", 2, 1, None), ("c", 1, 1, None), ("d", 1, 1, None), ("c", 1, 1, None)],
    )  # fmt: skip
    assert sorted(map(str, found)) == [
        "t ('a',): different in value", "t ('b',): missing", "t ('c',): unexpected", "t ('d',): unexpected",
    ]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "same"), [
    (0.1 + 0.2, 0.3, True), ("0.30000000000000004", "0.3", True), (0.3, 0.31, False), (None, 0.0, False),
    ("x", "y", False),
])  # fmt: skip
def test_sums_may_differ_in_the_last_digits_and_clocks_altogether(one: Any, other: Any, same: bool) -> None:
    assert (differences("t", HOW, [("a", 1, 5, one)], [("a", 1, 7, other)]) == []) is same
