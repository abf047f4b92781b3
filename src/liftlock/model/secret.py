"""Secrets: held by reference, shown as `***`, and removed from any text that leaves the program.

Every `Secret` made in this process is remembered, so `redact` can clean the output of child processes
and error messages of drivers that echo a connection string.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
_MIN_LENGTH = 4
# Defaults that are printed in everybody's manual: hiding them protects nobody and would garble ordinary words.
_PUBLISHED = frozenset({"admin", "mlflow", "password", "postgres", "test", "true", "user"})
_known: set[str] = set()


class Secret:
    """A value that must not be printed. `reveal()` is the only way to read it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        remember(value)

    def reveal(self) -> str:
        """The secret itself; hand it to a driver or to a child's environment, never to a log."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))


def remember(value: str) -> None:
    """Make `redact` remove this value, in plain and in URL-quoted form, from now on."""
    if len(value) >= _MIN_LENGTH and value not in _PUBLISHED:
        _known.update({value, quote(value, safe=""), quote_plus(value)})


def redact(text: str) -> str:
    """The text with every known secret replaced by `***`, longest first."""
    for value in sorted(_known, key=len, reverse=True):
        if value in text:
            text = text.replace(value, MASK)
    return text


def redact_values(data: Any) -> Any:
    """Plain data (dicts, lists, texts, numbers) with every text value redacted; keys and numbers stay as they are."""
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, dict):
        return {key: redact_values(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [redact_values(value) for value in data]
    return data
