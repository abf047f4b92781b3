"""Request heads: accepted only when two independent parsers agree, and rewritten for the way to the upstream.

The first is a strict grammar of our own (RFC 9112 without its tolerances), the second is llhttp. What a server behind
us could read in two ways (two lengths, a length and chunks, a bare LF, a folded line, a space before a colon) is
answered here and never forwarded: that is what request smuggling is made of.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import httptools

_TOKEN = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
# Possessive quantifiers: a head that does not match fails in linear time.
_HEAD = re.compile(
    rb"([" + _TOKEN + rb"]{1,32}+) ([!-~\x80-\xff]++) HTTP/([0-9])\.([0-9])\r\n"
    rb"((?:[" + _TOKEN + rb"]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
# Connection may name headers to drop on the way, but never those that frame, route or authorize the request.
_KEPT = frozenset({b"content-length", b"transfer-encoding", b"host", b"authorization", b"cookie", b"content-type"})
_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"http2-settings"})
_HOP_LINES = tuple(b"\r\n" + name + b":" for name in sorted(_HOP - {b"connection"}))
CHUNKED = -1


class Rejected(Exception):
    """A request that is answered and not forwarded: the HTTP status and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Head:
    """One request's head: verb, raw path and the bytes to send on. Shared by equal requests: read only.

    `length` is the body's size in bytes, or CHUNKED. `keep` says whether the client's connection may serve another
    request.
    """

    __slots__ = ("agent", "forward", "keep", "length", "method", "one_zero", "path", "version")

    def __init__(self) -> None:
        self.method = b""
        self.path = b""
        self.forward = b""
        self.length = 0
        self.keep = True
        self.one_zero = False
        self.agent = b""
        self.version = b""


@functools.lru_cache(maxsize=1024)
def parse(raw: bytes, peer: bytes, scheme: bytes) -> Head:
    """The head in `raw` (through its empty line). `peer` is the client's address. Raises Rejected.

    A pure function, so its results are remembered: a client in a loop sends the same head again and again.
    """
    match = _HEAD.fullmatch(raw)
    if match is None:
        raise Rejected(400, "malformed request head")
    method, target, major, minor, block = match.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise Rejected(505, "only HTTP/1.0 and HTTP/1.1 are served")
    if method not in _METHODS:
        raise Rejected(501, "unknown method")
    if target[0] != 47 or b"#" in target:  # "/"
        raise Rejected(400, "the request target must be a path")
    head = Head()
    head.method = method
    head.path = target.partition(b"?")[0]
    head.one_zero = minor == b"0"
    # One search per header that matters, in a lowered copy: a loop over all headers costs ten times as much.
    low = b"\r\n" + block.lower()
    block_start = len(raw) - len(block) - 4  # what index 0 of `low` would be in `raw`

    host = _single(low, b"\r\nhost:")
    if host is None and not head.one_zero:
        raise Rejected(400, "no Host header")
    head.length = _framing(low, one_zero=head.one_zero)
    # Only now the second opinion: a head whose framing ours refuses needs none.
    try:
        httptools.HttpRequestParser(_NOTHING).feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # our own rules for Upgrade are below
    except httptools.HttpParserError as error:
        raise Rejected(400, f"malformed request head: {error}") from None

    names = _named(low)
    head.keep = b"close" not in names and not head.one_zero
    expect = _single(low, b"\r\nexpect:")
    if expect is not None and expect != b"100-continue":
        raise Rejected(417, "unknown expectation")
    _refuse_upgrade(low)
    head.agent = _original(raw, low, b"\r\nuser-agent:", block_start)
    head.version = _original(raw, low, b"\r\nx-mlflow-client-version:", block_start)

    plain = not names or names == _KEEP_ALIVE
    lines = raw[:-2] if plain and not any(map(low.__contains__, _HOP_LINES)) else _stripped(raw, block, names)
    extra = b"X-Forwarded-For: " + peer + b"\r\n"
    if b"\r\nx-forwarded-proto:" not in low:
        extra += b"X-Forwarded-Proto: " + scheme + b"\r\n"
    if host is not None and b"\r\nx-forwarded-host:" not in low:
        extra += b"X-Forwarded-Host: " + host + b"\r\n"
    head.forward = lines + extra + b"\r\n"
    return head


class _Nothing:
    """llhttp without callbacks: only its verdict is wanted."""


_NOTHING: Any = _Nothing()


def _framing(low: bytes, *, one_zero: bool) -> int:
    if b"\r\ncontent_length:" in low or b"\r\ntransfer_encoding:" in low:
        # WSGI writes both spellings into the same variable.
        raise Rejected(400, "a framing header with an underscore")
    coding = _single(low, b"\r\ntransfer-encoding:")
    length = _single(low, b"\r\ncontent-length:")
    if coding is not None:
        if length is not None or one_zero:
            raise Rejected(400, "Transfer-Encoding with Content-Length or HTTP/1.0")
        if coding != b"chunked":
            raise Rejected(501, "only chunked transfer coding is served")
        return CHUNKED
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise Rejected(400, "malformed Content-Length")
    return int(length)


def _single(low: bytes, name: bytes) -> bytes | None:
    """The value of a header that may come once; None when it is absent."""
    at = low.find(name)
    if at < 0:
        return None
    start = at + len(name)
    if low.find(name, start - 1) >= 0:
        raise Rejected(400, f"repeated {name.strip().rstrip(b':').decode()} header")
    return low[start : low.index(b"\r\n", start)].strip(b" \t")


_NO_NAMES: frozenset[bytes] = frozenset()
_KEEP_ALIVE = frozenset({b"keep-alive"})


def _named(low: bytes) -> frozenset[bytes]:
    """What Connection names."""
    if b"\r\nconnection:" not in low:
        return _NO_NAMES
    if b"\r\nconnection: keep-alive\r\n" in low and low.count(b"\r\nconnection:") == 1:
        return _KEEP_ALIVE
    values = _values(low, b"\r\nconnection:")
    return frozenset(name.strip(b" \t") for value in values for name in value.split(b",")) - {b""}


def _values(low: bytes, name: bytes) -> list[bytes]:
    found = []
    at = low.find(name)
    while at >= 0:
        start = at + len(name)
        end = low.index(b"\r\n", start)
        found.append(low[start:end])
        at = low.find(name, end)
    return found


def _original(raw: bytes, low: bytes, name: bytes, block_start: int) -> bytes:
    """The first value of a header as it was sent, empty when absent, at most 200 bytes: for the log."""
    at = low.find(name)
    if at < 0:
        return b""
    start = at + len(name)
    end = low.index(b"\r\n", start)
    return raw[block_start + start : block_start + end].strip(b" \t")[:200]


def _refuse_upgrade(low: bytes) -> None:
    # HTTP/1.1 lets a server ignore an upgrade. h2c is offered by clients that are as happy with HTTP/1.1; anything
    # else (websocket) is of no use without it, so it is told so.
    for value in _values(low, b"\r\nupgrade:") if b"\r\nupgrade:" in low else ():
        if value.strip(b" \t") != b"h2c":
            raise Rejected(501, "protocol upgrades are not served")


def _stripped(raw: bytes, block: bytes, names: frozenset[bytes]) -> bytes:
    """The head without the headers that concern only the client's own connection."""
    if names & _KEPT:
        raise Rejected(400, "Connection names a header that must not be dropped")
    drop = _HOP | names
    lines = [line for line in block.split(b"\r\n")[:-1] if line.partition(b":")[0].lower() not in drop]
    first = raw[: raw.index(b"\r\n") + 2]
    return first + b"".join(line + b"\r\n" for line in lines)
