"""How one call lies in a spool file: a marker, a length, a checksum, and the call as JSON.

    b"LLT1" | length: uint32 | crc32(payload): uint32 | payload

The marker lets a reader find the next good record behind a damaged one. A record is written by one
`write`, so a process killed in between leaves at most one short record at the very end of its own file.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple, Union

MARKER = b"LLT1"
_HEAD = struct.Struct("<4sII")
HEAD_BYTES = _HEAD.size
LONGEST = 256 << 20


class Record(NamedTuple):
    """A whole record: where it starts and ends in its file (bytes), and the call."""

    start: int
    end: int
    call: dict[str, Any]


class Damage(NamedTuple):
    """Bytes of a file that are no record."""

    start: int
    end: int
    raw: bytes


def encode(payload: bytes) -> bytes:
    """Frame one payload."""
    return _HEAD.pack(MARKER, len(payload), zlib.crc32(payload)) + payload


def dump(call: dict[str, Any]) -> bytes:
    """A call as JSON bytes; NaN and infinities as Python writes them (and reads them back)."""
    return json.dumps(call, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def scan(data: bytes, base: int = 0, *, complete: bool) -> Iterator[Union[Record, Damage]]:
    """Every record in `data`, which starts at byte `base` of its file.

    A damaged stretch is returned as one Damage and the scan goes on at the next good record. With
    `complete` (the writer is gone) an unfinished tail is Damage too; otherwise it is left for later.
    """
    at = 0
    size = len(data)
    while at < size:
        found = _whole(data, at)
        if found is not None:
            call, end = found
            yield Record(base + at, base + end, call)
            at = end
            continue
        following = _next_whole(data, at + 1)
        if following is None:
            if complete or not _may_grow(data, at):
                yield Damage(base + at, base + size, data[at:])
            return
        yield Damage(base + at, base + following, data[at:following])
        at = following


def _whole(data: bytes, at: int) -> tuple[dict[str, Any], int] | None:
    if len(data) - at < HEAD_BYTES:
        return None
    marker, length, crc = _HEAD.unpack_from(data, at)
    end = at + HEAD_BYTES + length
    if marker != MARKER or length > LONGEST or end > len(data):
        return None
    payload = data[at + HEAD_BYTES : end]
    if zlib.crc32(payload) != crc:
        return None
    try:
        call = json.loads(payload.decode("utf-8", "surrogatepass"))
    except ValueError:
        return None
    return (call, end) if isinstance(call, dict) else None


def _next_whole(data: bytes, at: int) -> int | None:
    while (at := data.find(MARKER, at)) >= 0:
        if _whole(data, at) is not None:
            return at
        at += 1
    return None


def _may_grow(data: bytes, at: int) -> bool:
    """Whether the bytes at the end may be the first part of a record that is still being written."""
    rest = data[at : at + len(MARKER)]
    return MARKER.startswith(rest)
