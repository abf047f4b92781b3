"""Imports of what has moved: the edits of a `from ... import ...` that names other things as well."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from liftlock.scan.python.context import Context

Edits = tuple[tuple[int, int, str], ...]


def edits(context: Context, node: ast.ImportFrom, moved: Mapping[str, str]) -> Edits:
    """Edits of a whole statement. `moved` maps names it imports to the whole paths they have now."""
    start = context.place(node.lineno, node.col_offset)
    head = re.compile(r"from\s+(mlflow[\w.]*)").match(context.text, start)
    if head is None or any(path.rpartition(".")[2] != name for name, path in moved.items()):
        return ()
    modules = {path.rpartition(".")[0] for path in moved.values()}
    if len(moved) == len(node.names) and len(modules) == 1:
        return ((head.start(1), head.end(1), modules.pop()),)
    line = context.text.rfind("\n", 0, start) + 1
    indent = context.text[line:start]
    kept = [number for number, alias in enumerate(node.names) if alias.name not in moved]
    if indent.strip() or not kept:
        return ()
    found: list[tuple[int, int, str]] = []
    added = ""
    for number, alias in enumerate(node.names):
        if alias.name not in moved:
            continue
        module = moved[alias.name].rpartition(".")[0]
        added += f"from {module} import {alias.name}{f' as {alias.asname}' if alias.asname else ''}\n{indent}"
        if number < kept[-1]:
            found.append((context.span(alias)[0], context.span(node.names[number + 1])[0], ""))
    if kept[-1] < len(node.names) - 1:
        found.append((context.span(node.names[kept[-1]])[1], context.span(node.names[-1])[1], ""))
    return ((start, start, added), *found)


def _span(context: Context, alias: ast.alias) -> tuple[int, int]:
    return context.span(alias)
