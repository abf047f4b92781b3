"""Heads of the upstream's answers: how long the body is, and whether the connection can be used again."""

from __future__ import annotations

import functools
import re

import msgspec

_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CONNECTION = re.compile(rb"\r\n(?:connection|keep-alive):[^\r]*", re.IGNORECASE)
CHUNKED = -1
UNTIL_CLOSE = -2


class BadAnswer(Exception):
    """The upstream's answer cannot be framed."""


class Answer(msgspec.Struct):
    """One answer's head. `length` is the body's size in bytes, CHUNKED or UNTIL_CLOSE; `raw` has no Connection line.

    `keep` says whether the server's connection may be used again, `delimited` whether the client's may: the answer is
    of HTTP/1.1 and says where it ends.
    """

    status: int
    raw: bytes
    length: int
    keep: bool
    delimited: bool


@functools.lru_cache(maxsize=512)
def parse(raw: bytes, to_head: bool) -> Answer:
    """The answer's head in `raw` (through its empty line); `to_head`: it answers a HEAD. Raises BadAnswer.

    A pure function, remembered because a server sends the same heads within a second.
    """
    match = _HEAD.fullmatch(raw)
    if match is None:
        raise BadAnswer("malformed head")
    minor, code, block = match.groups()
    status = int(code)
    low = b"\r\n" + block.lower()
    one_zero = minor == b"0"
    keep = not one_zero
    if b"\r\nconnection:" in low or b"\r\nkeep-alive:" in low:
        connection = b",".join(_values(low, b"\r\nconnection:"))
        tokens = {token.strip() for token in connection.split(b",")}
        keep = b"close" not in tokens and (keep or b"keep-alive" in tokens)
        raw = _CONNECTION.sub(b"", raw)
    length = _length(low)
    if to_head or status < 200 or status in (204, 304):
        length = 0
    ends = length != UNTIL_CLOSE
    return Answer(status, raw, length, keep=keep and ends, delimited=ends and not one_zero)


def _length(low: bytes) -> int:
    codings = _values(low, b"\r\ntransfer-encoding:")
    lengths = _values(low, b"\r\ncontent-length:")
    if codings:
        if lengths or codings != [b"chunked"]:
            raise BadAnswer("unclear framing")
        return CHUNKED
    if not lengths:
        return UNTIL_CLOSE
    if any(each != lengths[0] for each in lengths) or not _LENGTH.fullmatch(lengths[0]):
        raise BadAnswer("unclear Content-Length")
    return int(lengths[0])


def _values(low: bytes, name: bytes) -> list[bytes]:
    found = []
    at = low.find(name)
    while at >= 0:
        start = at + len(name)
        at = low.index(b"\r\n", start)
        found.append(low[start:at].strip(b" \t"))
        at = low.find(name, at)
    return found
