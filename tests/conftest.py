"""In which order tests run, and what every run of them says at its end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

# Long ones first: what takes seconds then fills the end, and no processor waits for the other.
_FIRST = ("tests/e2e/", "tests/upgrade/", "tests/faults/", "packages/tracking/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order tests by how long their directory takes; within one they stay as they are."""
    order = {place: number for number, place in enumerate(_FIRST)}
    items.sort(key=lambda item: min((n for place, n in order.items() if place in item.nodeid), default=len(order)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many crash points the fault tests covered, by verb (see tests/faults)."""
    covered: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name.startswith("crash points: ") and getattr(report, "when", "") == "call":
                    covered[name.removeprefix("crash points: ")] += value
    for verb, count in sorted(covered.items()):
        terminalreporter.write_line(f"{verb}: killed and recovered at {count} points")
