"""JSON in and out for every value of the model, strict about unknown fields and kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all model values: immutable, compared by content, JSON by field name."""


def _encode(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no JSON form for {type(value).__name__}")


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(f"no JSON form for {kind.__name__}")


def to_builtins(value: Any) -> Any:
    """The value as dicts, lists, strings and numbers (times as RFC 3339 text)."""
    return msgspec.to_builtins(value, enc_hook=_encode)


def to_json(value: Any, *, indent: int = 0) -> str:
    """The value as JSON text with sorted keys, so that equal values give equal text."""
    # keys that are numbers become texts, which JSON wants and sorting needs
    plain = msgspec.to_builtins(value, enc_hook=_encode, str_keys=True)
    raw = msgspec.json.encode(plain, order="sorted")
    return (msgspec.json.format(raw, indent=indent) if indent else raw).decode()


def from_json(text: str | bytes, kind: type[T]) -> T:
    """The value a JSON text stands for. Raises ValueError, with the path of the field, when it does not fit."""
    return msgspec.json.decode(text, type=kind, dec_hook=_decode)


def from_builtins(data: Any, kind: type[T]) -> T:
    """The value that dicts and lists stand for. Raises ValueError as `from_json` does."""
    return msgspec.convert(data, type=kind, dec_hook=_decode)
