"""The reference page of all checks, made from the checks themselves."""

from __future__ import annotations

from liftlock.assess.run import registry


def checks_markdown() -> str:
    """The text of docs/reference/checks.md."""
    lines = [
        "# Checks",
        "",
        "What `liftlock check` asks. An ERROR that fails or cannot be told (UNKNOWN) keeps an upgrade from starting.",
        "",
        "| code | question | severity |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {check.code} | {check.title} | {check.severity} |" for check in registry()]
    for check in registry():
        lines += ["", f"## {check.code}: {check.title}", "", check.explain]
    return "\n".join(lines) + "\n"
