"""What every run of the tests says at its end."""

from __future__ import annotations

from collections import Counter
from typing import Any


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
