"""Request and answer heads."""

from __future__ import annotations

import pytest

from liftlock.gate import response
from liftlock.gate.head import CHUNKED, Rejected, parse


def head(*lines: str, first: str = "POST /a?b=1 HTTP/1.1", host: bool = True) -> bytes:
    return "\r\n".join([first, *(["Host: h"] if host else []), *lines, "", ""]).encode("latin-1")


def test_what_is_read_of_a_head() -> None:
    got = parse(head("Content-Length: 7", "User-Agent: Mlflow/1", "X-MLFLOW-Client-Version: 3.4.0"), b"::1", b"https")
    assert (got.method, got.path, got.length, got.keep, got.one_zero) == (b"POST", b"/a", 7, True, False)
    assert got.line == ("POST", "/a", "Mlflow/1", "3.4.0")
    assert got.forward.startswith(b"POST /a?b=1 HTTP/1.1\r\nHost: h\r\n")
    assert got.forward.endswith(b"X-Forwarded-For: ::1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: h\r\n\r\n")


@pytest.mark.parametrize(
    ("lines", "length", "keep"),
    [
        ((), 0, True),
        (("Transfer-Encoding: Chunked",), CHUNKED, True),
        (("content-length:  12 ",), 12, True),
        (("Connection: close",), 0, False),
        (("Connection: Keep-Alive",), 0, True),
        (("Connection: keep-alive", "Connection: CLOSE"), 0, False),
    ],
)
def test_framing_and_connection(lines: tuple[str, ...], length: int, keep: bool) -> None:
    got = parse(head(*lines), b"p", b"http")
    assert (got.length, got.keep) == (length, keep)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (head(first="GET / HTTP/2.0"), 505),
        (head(first="TRACE / HTTP/1.1"), 501),
        (head(first="OPTIONS * HTTP/1.1"), 400),
        (head(first="GET /#a HTTP/1.1"), 400),
        (head(host=False), 400),
        (head("Upgrade: websocket"), 501),
        (head("Transfer-Encoding: gzip"), 501),
        (head("Connection: authorization"), 400),
        (b"", 400),
    ],
)
def test_refused(raw: bytes, status: int) -> None:
    with pytest.raises(Rejected) as error:
        parse(raw, b"p", b"http")
    assert error.value.status == status


@pytest.mark.parametrize(
    ("raw", "length", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 5, True),
        (b"HTTP/1.1 200\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 5, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", response.CHUNKED, False),
        (b"HTTP/1.1 200 OK\r\n\r\n", response.UNTIL_CLOSE, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 5, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", 5, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 0, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 0, True),
    ],
)
def test_answers(raw: bytes, length: int, keep: bool) -> None:
    got = response.parse(raw, False)
    assert (got.length, got.keep) == (length, keep)
    assert b"onnection" not in got.raw


def test_an_answer_to_head_has_no_body() -> None:
    assert response.parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True).length == 0
