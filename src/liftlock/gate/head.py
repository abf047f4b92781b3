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
import msgspec

_TOKEN = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
# Possessive quantifiers: a head that does not match fails in linear time.
_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
# The path ends at "?"; "#" has no place in a request.
_LINE = re.compile(
    rb"(" + rb"|".join(_METHODS) + rb") (/[!\"$->@-~\x80-\xff]*+)(?:\?[!\"$-~\x80-\xff]*+)? HTTP/1\.([01])\r\n"
)
_ANY_LINE = re.compile(rb"([" + _TOKEN + rb"]{1,32}+) [!-~\x80-\xff]++ HTTP/([0-9]\.[0-9])\r\n")
_FIELDS = re.compile(rb"(?:[" + _TOKEN + rb"]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")
# Connection may name headers to drop on the way, but never those that frame, route or authorize the request.
_KEPT = frozenset({b"content-length", b"transfer-encoding", b"host", b"authorization", b"cookie", b"content-type"})
_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"http2-settings"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
# WSGI writes both spellings of a name into the same variable.
_TWINS = frozenset({b"content_length", b"transfer_encoding"})
_ONCE = _FRAMING | {b"host", b"expect"}
_NOTED = _HOP | _ONCE | _TWINS | {b"user-agent", b"x-mlflow-client-version", b"x-forwarded-proto", b"x-forwarded-host"}
_NO_NAMES: frozenset[bytes] = frozenset()
_KEEP_ALIVE = frozenset({b"keep-alive"})
_PLAIN = (_NO_NAMES, _KEEP_ALIVE)
CHUNKED = -1
# gunicorn takes 100, nothing of MLflow's clients sends more than 20.
_MOST = 256
# Longer ones are not remembered, so that nobody can fill the memory with them.
REMEMBERED = 4096


class Rejected(Exception):
    """A request that is answered and not forwarded: the HTTP status and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Head(msgspec.Struct):
    """One request's head: verb, raw path and the bytes to send on. Shared by equal requests: read only.

    `length` is the body's size in bytes, or CHUNKED. `line` is what the access log says of it: verb, path (without
    query), User-Agent, client version. `expects`: the client waits for `100 Continue` before it sends the body. `keep`
    says whether the client's connection may serve another request.
    """

    method: bytes
    path: bytes
    forward: bytes
    length: int
    line: tuple[str, str, str, str]
    expects: bool
    keep: bool
    one_zero: bool


def parse(raw: bytes, peer: bytes, scheme: bytes) -> Head:
    """The head in `raw` (through its empty line). `peer` is the client's address. Raises Rejected."""
    match = _LINE.match(raw)
    if match is None:
        raise _rejected_line(raw)
    method, path, minor = match.groups()
    one_zero = minor == b"0"
    at = match.end()
    block = raw[at:]
    # Requests differ in their first line more than in their headers.
    fields = (_remembered if len(block) <= REMEMBERED else _Fields)(block, peer, scheme)
    if one_zero:
        if fields.length == CHUNKED:
            raise Rejected(400, "Transfer-Encoding with HTTP/1.0")
    elif not fields.host:
        raise Rejected(400, "no Host header")
    # Only now the second opinion, of the whole: a head whose framing ours refuses needs none.
    try:
        httptools.HttpRequestParser(_NOTHING).feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # our own rules for Upgrade have been applied
    except httptools.HttpParserError as error:
        raise Rejected(400, f"malformed request head: {error}") from None
    return Head(
        method, path, raw[:at] + fields.forward, fields.length,
        (method.decode(), path[:256].decode("latin-1"), fields.agent, fields.version),
        fields.expects, fields.keep and not one_zero, one_zero,
    )  # fmt: skip


def _rejected_line(raw: bytes) -> Rejected:
    """What is wrong with a first line."""
    match = _ANY_LINE.match(raw)
    if match is None:
        return Rejected(400, "malformed request line")
    method, version = match.groups()
    if version not in (b"1.0", b"1.1"):
        return Rejected(505, "only HTTP/1.0 and HTTP/1.1 are served")
    if method not in _METHODS:
        return Rejected(501, "unknown method")
    return Rejected(400, "the request target must be a path")


class _Nothing:
    """llhttp without callbacks: only its verdict is wanted."""


_NOTHING: Any = _Nothing()


class _Fields:
    """The header lines of a request (through the empty line): what they say, and how they are sent on.

    Raises Rejected for what is wrong whatever the first line is.
    """

    __slots__ = ("agent", "expects", "forward", "host", "keep", "length", "version")

    def __init__(self, block: bytes, peer: bytes, scheme: bytes) -> None:
        if _FIELDS.fullmatch(block) is None:
            raise Rejected(400, "malformed request head")
        if block.count(b"\n") > _MOST:
            raise Rejected(431, "too many headers")
        found = _noted(block)
        host = found.get(b"host")
        self.host = host is not None
        self.length = _framing(found)
        expect = found.get(b"expect")
        self.expects = expect is not None
        if expect is not None and expect.lower() != b"100-continue":
            raise Rejected(417, "unknown expectation")
        # HTTP/1.1 lets a server ignore an upgrade. h2c is offered by clients that are as happy with HTTP/1.1; anything
        # else (websocket) is of no use without it, so it is told so.
        if found.get(b"upgrade", b"h2c").lower() != b"h2c":
            raise Rejected(501, "protocol upgrades are not served")
        names = _named(found)
        self.keep = b"close" not in names
        self.agent = found.get(b"user-agent", b"")[:200].decode("latin-1")
        self.version = found.get(b"x-mlflow-client-version", b"")[:40].decode("latin-1")
        # `connection` itself may stay when it says keep-alive and no other header of its kind is there.
        plain = names in _PLAIN and len(_HOP & found.keys()) == (b"connection" in found)
        extra = b"X-Forwarded-For: " + peer + b"\r\n"
        if b"x-forwarded-proto" not in found:
            extra += b"X-Forwarded-Proto: " + scheme + b"\r\n"
        if host is not None and b"x-forwarded-host" not in found:
            extra += b"X-Forwarded-Host: " + host + b"\r\n"
        self.forward = (block[:-2] if plain else _stripped(block, names)) + extra + b"\r\n"


# A pure function: a client in a loop sends the same headers again and again.
_remembered = functools.lru_cache(maxsize=1024)(_Fields)


def _noted(block: bytes) -> dict[bytes, bytes]:
    """The headers that matter here, names in lower case; those that may be repeated joined by commas."""
    found: dict[bytes, bytes] = {}
    for line in block.split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in _NOTED:
            if name in found:
                if name in _ONCE:
                    raise Rejected(400, f"repeated {name.decode()} header")
                found[name] += b"," + value.strip(b" \t")
            else:
                found[name] = value.strip(b" \t")
    return found


def _framing(found: dict[bytes, bytes]) -> int:
    if not _TWINS.isdisjoint(found):
        raise Rejected(400, "a framing header with an underscore")
    coding = found.get(b"transfer-encoding")
    length = found.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise Rejected(400, "Transfer-Encoding with Content-Length")
        if coding.lower() != b"chunked":
            raise Rejected(501, "only chunked transfer coding is served")
        return CHUNKED
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise Rejected(400, "malformed Content-Length")
    return int(length)


def _named(found: dict[bytes, bytes]) -> frozenset[bytes]:
    """What Connection names, in lower case."""
    value = found.get(b"connection")
    if value is None:
        return _NO_NAMES
    if value == b"keep-alive":
        return _KEEP_ALIVE
    return frozenset(name.strip(b" \t") for name in value.lower().split(b",")) - {b""}


def _stripped(block: bytes, names: frozenset[bytes]) -> bytes:
    """The header lines without those that concern only the client's own connection."""
    if names & _KEPT:
        raise Rejected(400, "Connection names a header that must not be dropped")
    drop = _HOP | names
    lines = [line for line in block.split(b"\r\n")[:-2] if line.partition(b":")[0].lower() not in drop]
    return b"".join(line + b"\r\n" for line in lines)
