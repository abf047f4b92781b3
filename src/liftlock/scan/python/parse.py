"""Parse Python, also where it is not quite Python: what cannot be parsed is blanked out line by line."""

from __future__ import annotations

import ast
import re
import warnings

_TRIES = 40
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|<%.*?%>")


def parse(text: str) -> tuple[ast.Module, str, bool]:
    """The tree, the text it was made of (same length in every line that was kept), and whether all of it was parsed.

    Raises SyntaxError when nothing helps.
    """
    whole = _parsed(text)
    if isinstance(whole, ast.Module):
        return whole, text, True
    tree = whole
    if "{{" in text or "{%" in text:
        text = _TEMPLATE.sub(_blank_template, text)
    lines = text.split("\n")
    for _ in range(_TRIES):
        again = _parsed("\n".join(lines))
        if isinstance(again, ast.Module):
            return again, "\n".join(lines), False
        tree = again
        number = min(max((tree.lineno or 1) - 1, 0), len(lines) - 1)
        if not _blank(lines, number):
            number = next((each for each in range(number, -1, -1) if _blank(lines, each)), -1)
            if number < 0:
                raise tree
    raise tree


def _parsed(text: str) -> ast.Module | SyntaxError:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except SyntaxError as error:
            return error
        except (ValueError, RecursionError, MemoryError) as error:
            return SyntaxError(str(error))


def _blank(lines: list[str], number: int) -> bool:
    """Turn a line into `pass` where it stands; False when it is blank or was turned already."""
    line = lines[number]
    body = line.strip()
    if not body or body == "pass":
        return False
    indent = line[: len(line) - len(line.lstrip())]
    opens = body.endswith(":") and not body.startswith("#")
    lines[number] = f"{indent}if 1:" if opens and number + 1 < len(lines) else f"{indent}pass"
    if lines[number].strip() == body:
        lines[number] = f"{indent}pass"
    return True


def _blank_template(found: re.Match[str]) -> str:
    text = found[0]
    if text.startswith("{{"):
        return "x" * len(text)
    return " " * len(text)
