"""setup.py: string literals that are requirements of MLflow, and variables that hold its version."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import CannotParse, Pin, Syntax
from liftlock.pins.toml_pins import requirement


class SetupPy:
    """`setup.py` and `noxfile.py`, read by Python's own parser."""

    name = "setup.py"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return path.name in ("setup.py", "noxfile.py")

    def find(self, text: str) -> list[Pin]:
        """Literals without escapes, wherever they stand; names are seen in assignments."""
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            raise CannotParse(error.lineno or 1, f"not readable as Python: {error.msg}") from None
        except ValueError as error:
            raise CannotParse(1, f"not readable as Python: {error}") from None
        lines = _line_starts(text)
        found = [*_assigned(tree, text, lines), *_literals(tree, text, lines)]
        return tokens.without_overlaps(found)


def _literals(tree: ast.Module, text: str, lines: list[int]) -> Iterator[Pin]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "mlflow" in node.value.lower():
            start = _place(node, text, lines)
            if start is not None and (pin := requirement(node.value, start, "requirement", f"line {node.lineno}")):
                yield pin


def _assigned(tree: ast.Module, text: str, lines: list[int]) -> Iterator[Pin]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        names = [each.id for each in node.targets if isinstance(each, ast.Name)]
        value = node.value.value
        if isinstance(value, str) and tokens.is_tag(value) and any(map(tokens.is_variable, names)):
            start = _place(node.value, text, lines)
            if start is not None:
                yield Pin(start, start + len(value), value, "mlflow", Syntax.VERSION, "variable")


def _place(node: ast.Constant, text: str, lines: list[int]) -> int | None:
    """The offset of a literal's content, or None when it is not written out in one piece."""
    line_start = lines[node.lineno - 1]
    line = text[line_start : text.find("\n", line_start) if "\n" in text[line_start:] else len(text)]
    column = len(line.encode()[: node.col_offset].decode())
    start = line_start + column
    while start < len(text) and text[start] not in "'\"":
        start += 1
    quote = 3 if text[start : start + 3] in ("'''", '"""') else 1
    return start + quote if text.startswith(str(node.value), start + quote) else None


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for place, character in enumerate(text):
        if character == "\n":
            starts.append(place + 1)
    return starts
