"""Random and mangled requests through a real gate: what the upstream records is exactly what a client was promised."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftlock.gate import response
from liftlock.gate.chunks import BadChunk, Chunks
from liftlock.gate.head import CHUNKED, Rejected, parse
from tests.support.gate import GateProcess, Raw, Recorder, recorded

_FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_TOKEN = st.text("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCXYZ", min_size=1, max_size=12)
_VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
_OWN = re.compile(
    "connection|keep-alive|proxy-connection|te|trailer|upgrade|http2-settings|expect|host|content[-_]length|"
    "transfer[-_]encoding|x-forwarded-.*",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GateProcess, Recorder]]:
    with recorded(tmp_path_factory.mktemp("gate")) as both:
        yield both


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, str, dict[str, str], bytes]:
    """A well-formed request with the target, headers and body that must arrive."""
    target = "/" + draw(st.text("abcdefghijklmnopqrstuvwxyz0123456789/._-%?&=~", max_size=40))
    headers = {name.lower(): value for name, value in draw(st.dictionaries(_TOKEN, _VALUE, max_size=6)).items()
               if not _OWN.fullmatch(name)}  # fmt: skip
    body = draw(st.binary(max_size=300))
    lines = [f"POST {target} HTTP/1.1", "Host: g", *(f"{name}: {value}" for name, value in headers.items())]
    if draw(st.booleans()):
        lines.append(draw(st.sampled_from(["Transfer-Encoding: chunked", "transfer-encoding:chunked"])))
        sent, left = b"", body
        while left:
            size = draw(st.integers(1, len(left)))
            sent += b"%x\r\n%b\r\n" % (size, left[:size])
            left = left[size:]
        sent += b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
        sent = body
    return "\r\n".join([*lines, "", ""]).encode() + sent, target, headers, body


@_FAST
@given(st.lists(requests(), min_size=1, max_size=4), st.lists(st.integers(1, 400), max_size=8))
def test_what_is_well_formed_arrives_as_sent(
    pair: tuple[GateProcess, Recorder],
    wanted: list[tuple[bytes, str, dict[str, str], bytes]],
    cuts: list[int],
) -> None:
    gate, up = pair
    before = len(up.received)
    data = b"".join(each[0] for each in wanted)
    with Raw(gate.port) as raw:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        at = 0
        for cut in cuts:
            raw.send(data[at : at + cut])
            at += cut
        raw.send(data[at:])
        for _ in wanted:
            assert raw.answer()[0] == 200
    got = up.received[before:]
    assert [(each.target, each.body) for each in got] == [(each[1], each[3]) for each in wanted]
    for each, expected in zip(got, wanted, strict=True):
        assert expected[2].items() <= each.headers.items()
    assert not up.broken


@_FAST
@given(requests(), st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3), st.integers(0, 4)), min_size=1))
def test_mangled_requests_never_confuse_the_upstream(
    pair: tuple[GateProcess, Recorder],
    request: tuple[bytes, str, dict[str, str], bytes],
    edits: list[tuple[int, bytes, int]],
) -> None:
    gate, up = pair
    data = request[0]
    for at, put, drop in edits:
        data = data[:at] + put + data[at + drop :]
    before = len(up.received)
    answered = 0
    with Raw(gate.port) as raw:
        with contextlib.suppress(OSError):
            raw.send(data)
            raw.socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError, ConnectionError):
            while True:
                answered += raw.answer()[0] == 200
    # Whatever the upstream took as a request, it understood, and the client got as many answers at most.
    assert not up.broken
    assert answered <= len(up.received) - before


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_head_or_refused(data: bytes) -> None:
    for raw in (data, b"GET / HTTP/1.1\r\nHost: g\r\n" + data + b"\r\n\r\n"):
        try:
            head = parse(raw, b"1.2.3.4", b"http")
        except Rejected as rejected:
            assert rejected.status in (400, 417, 431, 501, 505)
        else:
            assert head.forward.endswith(b"\r\n\r\n")
            assert head.forward.count(b"\n") == head.forward.count(b"\r\n") == head.forward.count(b"\r")
            assert head.length >= CHUNKED
        with contextlib.suppress(response.BadAnswer):
            response.parse(raw.replace(b"GET / HTTP/1.1", b"HTTP/1.1 200"), False)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.binary(max_size=20), st.integers(1, 30))
@settings(max_examples=300, deadline=None)
def test_chunks_end_at_the_same_place_however_they_are_cut(parts: list[bytes], rest: bytes, step: int) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    chunks, passed, after = Chunks(), b"", b""
    data = body + rest
    for at in range(0, len(data), step):
        if chunks.done:
            after += data[at : at + step]
            continue
        out, after = chunks.feed(data[at : at + step])
        passed += out
    assert chunks.done
    assert passed == body
    assert after == rest
    assert chunks.size == sum(map(len, parts))


@given(st.binary(max_size=60), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_chunks_or_refused(data: bytes, step: int) -> None:
    chunks = Chunks()
    passed = b""
    try:
        for at in range(0, len(data), step):
            if chunks.done:
                break
            passed += chunks.feed(data[at : at + step])[0]
    except BadChunk:
        pass
    assert data.startswith(passed.removesuffix(b"\r\n")) or chunks.done
